"""The proxy without TLS, which no product program offers: to tell its cost from that of encryption."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from aiokit import collector
from aiokit.signals import wait_terminated
from clustermesh_apiserver.proxy.access import AuthMode
from clustermesh_apiserver.proxy.authz import role_of
from clustermesh_apiserver.proxy.caller import Caller, Certificate, Peer, address_of
from clustermesh_apiserver.proxy.door import Door
from clustermesh_apiserver.proxy.gate import Gate
from clustermesh_apiserver.proxy.grpc_health import HealthService
from clustermesh_apiserver.proxy.hub import running_hub
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.quota import DEFAULT
from clustermesh_apiserver.proxy.server import Front, listening
from clustermesh_apiserver.proxy.session import Sessions
from clustermesh_apiserver.proxy.source import connect_source
from clustermesh_apiserver.proxy.upstream import connect

_NOBODYS = Certificate(0, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), b"")


def identify(peer: Peer, cluster: str) -> Caller:
    """Everybody is another cluster's agent."""
    return Caller(role_of(["remote"], cluster), peer.address, address_of(peer.address), _NOBODYS)


async def serve(address: str, upstream_address: str) -> None:
    metrics = Metrics()
    door = Door(Gate(AuthMode.MIGRATION, has_users=False, metrics=metrics), DEFAULT, metrics)
    sessions = Sessions(door.shut_out)
    async with (
        connect(upstream_address, metrics) as upstream,
        connect_source(upstream_address) as source,
        running_hub(source) as hub,
        asyncio.TaskGroup() as group,
    ):
        sweep = group.create_task(sessions.sweep(), name="proxy sweep")
        front = Front(
            "bench",
            upstream=upstream,
            hub=hub,
            door=door,
            sessions=sessions,
            health=HealthService(lambda: True),
            metrics=metrics,
            identify=identify,
        )
        async with listening(front, address, None, lambda _: ""):
            await wait_terminated()
        sweep.cancel()


if __name__ == "__main__":
    collector.calm()
    asyncio.run(serve(*sys.argv[1:]))
