"""gRPC's health service, as a load balancer asks it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from aiokit.wait import eventually
from certs import profile
from certs.profile import Profile
from clustermesh_apiserver.proxy.grpc_health import CHECK, NOT_SERVING, SERVING, WATCH
from tests.clustermesh_apiserver.proxy.conftest import Mesh

REMOTE = profile.remote()


async def check(channel: Any, request: bytes = b"") -> bytes:
    answer: bytes = await channel.unary_unary(CHECK)(request, timeout=5)
    return answer


async def test_it_says_whether_clients_can_be_served_and_tells_who_watches(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:

        async def says(expected: bytes) -> bool:
            return await check(channel) == expected

        await eventually(lambda: says(SERVING))
        watch = channel.stream_stream(WATCH)()
        await watch.write(b"")
        assert await asyncio.wait_for(watch.read(), 5) == SERVING
        mesh.etcd.stop()
        assert await asyncio.wait_for(watch.read(), 10) == NOT_SERVING
        assert await check(channel) == NOT_SERVING


async def test_it_knows_no_other_service_and_no_stranger(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        call = channel.unary_unary(CHECK)(b"\x0a\x01x", timeout=5)
        assert await call.code() is grpc.StatusCode.NOT_FOUND
    async with mesh.channel(Profile("somebody", client=True)) as channel:
        call = channel.unary_unary(CHECK)(b"", timeout=5)
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
