"""Zstandard frames as peers store them, opened without trusting what they claim.

Promises: opening costs no more memory than the limit, a window of `MAX_WINDOW` and what one small piece of
input can grow to, whatever the bytes say; ValueError for everything that is not whole frames. Reads what
Cilium's decoder reads: several frames one after the other, skippable ones, frames that do not say how long
their content is, none at all. Bytes written differ between libraries and their versions: compare contents.
"""

from __future__ import annotations

import zstandard

MAX_WINDOW = 16 * 1024 * 1024

_PIECE = 64  # bytes of input that are opened at once: a block of 4 bytes can stand for 128 KiB
_UNKNOWN = -1
_TOO_LONG = "decompressed size exceeds {}"


def compress(content: bytes) -> bytes:
    """One frame that says its length and has a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def decompress(frames: bytes, limit: int) -> bytes:
    """The content. ValueError when it is none, or longer than `limit`."""
    if not frames:
        return b""
    try:
        claimed = zstandard.frame_content_size(frames)
        if claimed > limit:
            raise ValueError(_TOO_LONG.format(limit))
        if claimed > 0:  # 0 is also what a skippable frame claims
            try:
                return _opener().decompress(frames, max_output_size=claimed, allow_extra_data=False)
            except zstandard.ZstdError:  # wrong, or one frame of several
                pass
        return _open_in_pieces(frames, limit)
    except zstandard.ZstdError as error:
        raise ValueError(f"invalid zstd frame: {error}") from error


def _opener() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)


def _open_in_pieces(frames: bytes, limit: int) -> bytes:
    content = bytearray()
    frame = _opener().decompressobj()
    position = 0
    while position < len(frames):
        if frame.eof:
            frame = _opener().decompressobj()
        piece = frames[position : position + _PIECE]
        content += frame.decompress(piece)
        if len(content) > limit:
            raise ValueError(_TOO_LONG.format(limit))
        position += len(piece) - len(frame.unused_data)
    if not frame.eof:
        raise ValueError("invalid zstd frame: it ends too early")
    return bytes(content)
