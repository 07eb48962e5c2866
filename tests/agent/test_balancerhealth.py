"""Load balancers ask nodes by HTTP whether a service has endpoints there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from agent.balancerhealth import BalancerHealth, count, everywhere
from agent.desired import Clock
from agent.ownslices import Slice
from agent.services import Services
from agent.status import health_ports
from aiokit.wait import eventually
from mesh.localservice import LocalBackend, LocalService
from mesh.service import Port

HOST, HTTP = "127.0.0.1", {"http": Port("TCP", 8080)}
Answer = tuple[int, object, str | None]


def backend(ip: str, node: str = "node-1") -> LocalBackend:
    return LocalBackend(ip, HTTP, node=node)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def services() -> Services:
    made = Services(Clock(), node="node-1")
    made.start()
    return made


@pytest.fixture(autouse=True)
async def balancers(services: Services) -> AsyncIterator[BalancerHealth]:
    made = BalancerHealth(services, "node-1", HOST)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.run(), name="balancers")
        yield made
        task.cancel()


async def ask(port: int, host: str = HOST) -> Answer | None:
    """Status, what the answer says, and the weight; None where nobody listens."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session,
            session.get(f"http://{host}:{port}/healthz") as answer,
        ):
            return answer.status, await answer.json(), answer.headers.get("X-Load-Balancing-Endpoint-Weight")
    except aiohttp.ClientConnectorError:
        return None


def told(endpoints: int) -> Answer:
    said = {"service": {"namespace": "shop", "name": "web"}, "localEndpoints": endpoints}
    return (200 if endpoints else 503), said | {"serviceProxyHealthy": True}, str(endpoints)


async def until(port: int, wanted: Answer | None) -> None:
    async def as_wanted() -> bool:
        return await ask(port) == wanted

    await eventually(as_wanted, 5, 0.02)


async def test_a_node_tells_how_many_endpoints_it_has_and_stops_with_the_service(services: Services) -> None:
    port = free_port()
    services.set_local("shop/web", LocalService("shop", "web", health_port=port))
    await until(port, told(0))
    services.set_slice("shop/web-1", Slice("shop/web", (backend("10.1.1.1"), backend("10.1.2.1", "node-2"))))
    assert await ask(port) == told(1)
    services.set_local("shop/web", None)
    await until(port, None)


async def test_both_families_are_told_at_one_port_of_a_node_with_both() -> None:
    made, port = Services(Clock(), node="node-1"), free_port()
    made.start()
    made.set_local("shop/web", LocalService("shop", "web", health_port=port))
    async with asyncio.TaskGroup() as group:
        health = BalancerHealth(made, "node-1", *everywhere(dual_stack=True))
        task = group.create_task(health.run(), name="balancers")
        await until(port, told(0))
        assert await ask(port, "[::1]") == told(0)
        made.set_local("shop/web", None)
        await until(port, None)
        assert await ask(port, "[::1]") is None
        task.cancel()


async def test_a_service_may_get_another_port_and_another_service_its_old_one(services: Services) -> None:
    first, second = free_port(), free_port()
    services.set_local("shop/api", LocalService("shop", "api", health_port=first))
    services.set_slice("shop/web-1", Slice("shop/web", (backend("10.1.1.1"),)))
    services.set_local("shop/api", LocalService("shop", "api", health_port=second))
    services.set_local("shop/web", LocalService("shop", "web", health_port=first))
    await until(first, told(1))
    answer = await ask(second)
    assert answer is not None
    assert answer[0] == 503


async def test_a_port_that_is_taken_is_said_and_tried_again_and_holds_up_no_other(
    services: Services, balancers: BalancerHealth
) -> None:
    other = free_port()
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        services.set_local("shop/api", LocalService("shop", "api", health_port=port))
        services.set_local("shop/web", LocalService("shop", "web", health_port=other))
        await until(other, told(0))
        said = health_ports(balancers.problems)
        assert said["state"] == "Warning"
        assert f"the health of shop/api cannot be told at port {port}: " in said["msg"]
        assert "shop/web" not in said["msg"]
    services.set_local("shop/api", None)
    services.set_local("shop/web", LocalService("shop", "web", health_port=port))
    await until(port, told(0))
    assert health_ports(balancers.problems) == {"state": "Ok", "msg": ""}


async def test_a_port_that_can_be_opened_again_is_no_trouble_any_more(
    services: Services, balancers: BalancerHealth
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        services.set_local("shop/web", LocalService("shop", "web", health_port=port))
        await eventually(lambda: list(balancers.problems) == [port])
    await until(port, told(0))
    await eventually(lambda: not balancers.problems)


def test_a_pod_of_two_families_is_one_endpoint_and_one_that_ends_is_none() -> None:
    both = backend("10.1.1.1"), backend("fd00::1"), backend("10.1.1.2"), backend("10.1.2.1", "node-2")
    ending = LocalBackend("10.1.1.3", HTTP, "terminating", "node-1")
    assert count((*both, ending), "node-1") == 2
