from __future__ import annotations

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mesh.zstdframe import MAX_WINDOW, compress, decompress

LIMIT = 1 << 20
SKIPPABLE = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"abc"
TEXT = b"endpoints " * 100


def streamed(content: bytes, window_log: int = 0) -> bytes:
    """A frame that does not say how long its content is."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(content) + packer.flush()


@given(st.binary(max_size=2000), st.booleans())
def test_what_is_compressed_opens_the_same(content: bytes, says_length: bool) -> None:
    assert decompress(compress(content) if says_length else streamed(content), LIMIT) == content


@pytest.mark.parametrize(
    "frames",
    [
        compress(TEXT),
        streamed(TEXT),
        compress(TEXT[:500]) + compress(TEXT[500:]),
        streamed(TEXT[:500]) + compress(b"") + streamed(TEXT[500:]),
        SKIPPABLE + compress(TEXT) + SKIPPABLE,
        compress(TEXT) + SKIPPABLE,
    ],
    ids=range(6),
)
def test_frames_of_every_kind_open(frames: bytes) -> None:
    assert decompress(frames, LIMIT) == TEXT
    assert decompress(frames, len(TEXT)) == TEXT
    with pytest.raises(ValueError, match="decompressed size exceeds"):
        decompress(frames, len(TEXT) - 1)


def test_nothing_is_no_content() -> None:
    assert decompress(b"", LIMIT) == decompress(SKIPPABLE, LIMIT) == decompress(compress(b""), LIMIT) == b""


@pytest.mark.parametrize(
    "frames",
    [
        b"\0",
        b"plain text",
        compress(TEXT)[:-1],
        streamed(TEXT)[:-1],
        compress(TEXT) + b"\0",
        compress(TEXT) + compress(TEXT)[:-2],
        compress(TEXT)[:-1] + b"\0",  # the checksum
        SKIPPABLE[:-1],
    ],
    ids=range(8),
)
def test_what_is_not_whole_frames_is_refused(frames: bytes) -> None:
    with pytest.raises(ValueError, match="invalid zstd frame"):
        decompress(frames, LIMIT)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 60))
def test_arbitrary_and_changed_frames_raise_nothing_else(noise: bytes, start: int, length: int) -> None:
    packed = compress(TEXT)
    for frames in (noise, packed[:start] + noise + packed[start + length :]):
        try:
            assert len(decompress(frames, LIMIT)) <= LIMIT
        except ValueError:
            continue


def bombs() -> list[bytes]:
    zeros = bytes(64 << 20)
    honest = compress(zeros)
    lying = bytearray(honest)
    lying[5:9] = (1000).to_bytes(4, "little")  # 4 bytes of length behind magic and descriptor
    return [honest, bytes(lying), streamed(zeros), b"".join(compress(zeros[: 1 << 18]) for _ in range(256))]


@pytest.mark.parametrize("bomb", bombs(), ids=["honest", "lying", "silent", "many"])
def test_a_bomb_costs_about_the_limit(bomb: bytes) -> None:
    assert len(bomb) < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"decompressed size exceeds|invalid zstd frame"):
            decompress(bomb, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()


def test_a_window_wider_than_the_memory_allowed_is_refused() -> None:
    wide = streamed(TEXT, window_log=MAX_WINDOW.bit_length())
    with pytest.raises(ValueError, match="invalid zstd frame"):
        decompress(wide, LIMIT)
