"""Frames and messages, cut anywhere by the network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench import http2

PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cut, position = [], 0
    while position < len(data):
        size = sizes[len(cut) % len(sizes)]
        cut.append(data[position : position + size])
        position += size
    return cut


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 255), st.integers(0, 99), st.binary(max_size=300))),
    PIECES,
)
def test_frames_arrive_whole_however_they_are_cut(frames: list[http2.Frame], sizes: list[int]) -> None:
    received, got = bytearray(), list[http2.Frame]()
    for piece in pieces(b"".join(http2.frame(*frame) for frame in frames), sizes):
        received += piece
        got += http2.frames(received)
    assert got == frames
    assert not received


@given(st.lists(st.binary(max_size=300)), PIECES)
def test_messages_arrive_whole_however_they_are_cut(sent: list[bytes], sizes: list[int]) -> None:
    stream, messages = b"".join(b"\0" + len(one).to_bytes(4, "big") + one for one in sent), http2.Messages()
    assert [one for piece in pieces(stream, sizes) for one in messages.feed(piece)] == sent
