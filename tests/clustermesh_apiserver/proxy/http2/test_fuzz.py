"""Whatever a client sends, in whatever order: the server lives, other clients are served, nothing is left."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from bench import http2
from bench.http2 import frame
from tests.clustermesh_apiserver.proxy.http2.far import far, message, settled
from tests.clustermesh_apiserver.proxy.http2.test_abuse import BLOCK, BOMB, SETTING

STREAMS = st.integers(0, 9) | st.integers(0, 2**31 - 1)
PAYLOADS = (
    st.binary(max_size=40)
    | st.just(BLOCK)
    | st.just(BOMB)
    | st.binary(max_size=5).map(message)
    | st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4, "big"))
    | st.builds(SETTING.pack, st.integers(0, 8), st.integers(0, 2**32 - 1))
)
FLAGS = st.sampled_from([0, 1, 4, 5, 8, 12, 13, 0x20, 0x25]) | st.integers(0, 255)
RANDOM = st.builds(frame, st.integers(0, 11), FLAGS, STREAMS, PAYLOADS)
# What a real client sends, so that the rest meets calls that run.
LIKELY = st.sampled_from(
    [
        *(frame(http2.HEADERS, flags, stream, BLOCK) for flags in (4, 5) for stream in (1, 3, 5)),
        *(frame(http2.DATA, flags, stream, message(b"x")) for flags in (0, 1) for stream in (1, 3, 5)),
        *(frame(http2.RST_STREAM, 0, stream, bytes(4)) for stream in (1, 3, 5)),
        *(frame(http2.WINDOW_UPDATE, 0, stream, b"\0\0\0\x09") for stream in (0, 1, 3)),
        frame(http2.SETTINGS, 0, 0, SETTING.pack(4, 3)),
    ]
)


@given(st.lists(LIKELY | RANDOM, max_size=30), st.lists(st.integers(1, 200), max_size=10))
@settings(max_examples=150, deadline=None)
def test_no_frames_kill_the_server_or_leak_a_stream(frames: list[bytes], cuts: list[int]) -> None:
    asyncio.run(_survives(frames, cuts))


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_no_bytes_at_all_do(garbage: bytes) -> None:
    asyncio.run(_survives([garbage], []))


async def _survives(frames: list[bytes], cuts: list[int]) -> None:
    async with far() as connect:
        client, other = connect(), connect()
        other.begin()
        other.ask()
        client.begin()
        raw = b"".join(frames)
        for cut in cuts:
            client.send(raw[:cut])
            raw = raw[cut:]
            await asyncio.sleep(0)
        client.send(raw)
        connection = client.wire.connection
        other.tell(1, b"still here", ends=True)
        await settled(lambda: bool(other.trailers()))
        assert other.messages() == [b"still here"]
        if connection is not None:
            client.socket.abort()
            await settled(lambda: connection.streams.running == 0)
            assert not connection.streams
            assert connection.held == 0
