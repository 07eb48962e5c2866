"""Three clusters that read each other through KVStoreMesh, while parts die, lines break, stores vanish."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest

from aiokit.wait import eventually
from e2e.faults import AGENT, ETCD, EXPORTER, KVSTOREMESH, PROXY, curls_counted, cut, kill
from e2e.labname import of_checkout
from e2e.members import Difference, differences, etcdctl, store
from k8s.errors import KubernetesError
from k8s.resource import POD
from lab.demo.driver import Driver
from lab.demo.objects import SLEEP_IMAGE, deployment, service
from lab.plan import LabPlan, make

LAB = of_checkout("trio")
CLUSTERS = ["east", "west", "north"]
HEALED_SECONDS = 5.0
CUT_SECONDS = 30.0


@dataclass(frozen=True)
class Trio:
    """Three connected clusters of one node each; `web` is global in all, a client runs in east."""

    lab: Driver
    plan: LabPlan
    client: str
    url: str

    async def settle(self, seconds: float) -> None:
        """Wait until every member holds exactly what every source has."""
        last: list[Difference] = []

        async def is_equal() -> bool:
            try:
                last[:] = await differences(self.lab, self.plan)
            except KubernetesError as error:  # an agent that is just being restarted
                last[:] = [Difference(str(error), "", "")]
            return not last

        try:
            await eventually(is_equal, seconds, 0.1)
        except TimeoutError:
            raise AssertionError(f"not equal after {seconds:g} s: {last}") from None


async def _prepare(lab: Driver) -> Trio:
    async with asyncio.TaskGroup() as group:
        for name in CLUSTERS:
            group.create_task(lab.command("enable", "--context", name, "--wait"), name=f"enable {name}")
    others = ",".join(CLUSTERS[1:])
    await lab.command(
        "connect", "--context", "east", "--destination-context", others, "--connection-mode", "mesh"
    )
    for name in CLUSTERS:
        await lab.apply(name, deployment("web", replicas=1), service("web"))
    await lab.apply("east", deployment("client", replicas=1, image=SLEEP_IMAGE))
    (client,) = await lab.wait_pods("east", "client", 1)
    for name in CLUSTERS:
        await lab.wait_pods(name, "web", 1)
        await lab.command("status", "--context", name, "--wait", "--wait-duration", "60s")
    trio = Trio(lab, make(LAB, CLUSTERS, 1), client, f"http://{await lab.cluster_ip('east', 'web')}/")
    await trio.settle(30)
    return trio


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    lab = Driver(LAB)
    names = ("--cluster-names", ",".join(CLUSTERS))
    try:
        asyncio.run(lab.command("lab", "--name", LAB, "up", *names, "--nodes", "1"))
        yield asyncio.run(_prepare(lab))
    finally:
        asyncio.run(lab.command("lab", "--name", LAB, "down"))


async def test_agents_read_their_own_cluster_only(trio: Trio) -> None:
    held = await store(trio.plan.cluster("east"))
    assert json.loads(held[b"cilium/cluster-config/west"])["capabilities"]["cached"] is True
    shown = json.loads(await trio.lab.command("status", "--context", "east", "-o", "json"))
    assert shown["kvstoremesh"]["status"]["clusters"].keys() == {"north", "west"}
    assert shown["kvstoremesh"]["status"]["clusters"]["west"]["connected"] == 1
    assert shown["connectivity"]["clusters"]["west"]["programmed"] == 1


@pytest.mark.parametrize("part", [ETCD, EXPORTER, PROXY, KVSTOREMESH], ids=lambda part: part[-1].split()[-1])
async def test_a_part_of_a_control_plane_killed_loses_nothing(trio: Trio, part: tuple[str, ...]) -> None:
    west = trio.plan.cluster("west")
    async with curls_counted(trio.lab, "east", trio.client, trio.url) as answers:
        async with asyncio.TaskGroup() as group:
            group.create_task(kill(west.control, *part), name="kill")
            group.create_task(trio.lab.scale("west", "web", 2), name="change")
        await trio.lab.wait_pods("west", "web", 2)
        await _wait_control_plane(trio, "west")
        await trio.settle(HEALED_SECONDS)
    assert [answer for answer in answers if not answer.served_by] == []
    assert {answer.cluster for answer in answers} == set(CLUSTERS)
    await trio.lab.scale("west", "web", 1)
    await trio.lab.wait_pods("west", "web", 1)
    await trio.settle(HEALED_SECONDS)


async def test_an_agent_killed_loses_nothing(trio: Trio) -> None:
    async with curls_counted(trio.lab, "east", trio.client, trio.url) as answers:
        await kill(trio.plan.cluster("east").nodes[1], *AGENT)
        await trio.lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
        await trio.settle(HEALED_SECONDS)
    assert [answer for answer in answers if not answer.served_by] == []


async def test_a_line_cut_for_long_with_a_compaction_meanwhile_heals_at_once(trio: Trio) -> None:
    west = trio.plan.cluster("west")
    async with curls_counted(trio.lab, "east", trio.client, trio.url) as answers:
        async with cut(trio.plan, "west", "east", "north"):
            healed_at = time.monotonic() + CUT_SECONDS
            await trio.lab.scale("west", "web", 2)
            await trio.lab.wait_pods("west", "web", 2)
            await _compact(trio)
            assert await differences(trio.lab, trio.plan)
            await asyncio.sleep(healed_at - time.monotonic())  # the fault lasts as long as it lasts
        await trio.settle(HEALED_SECONDS)
    assert [answer for answer in answers if not answer.served_by] == []
    await trio.lab.scale("west", "web", 1)
    await trio.lab.wait_pods("west", "web", 1)
    assert west.name in {answer.cluster for answer in answers}


async def test_a_store_replaced_by_an_empty_one_of_another_cluster_loses_nothing(trio: Trio) -> None:
    before = await _cluster_id(trio)
    async with curls_counted(trio.lab, "east", trio.client, trio.url) as answers:
        async with trio.lab.kubernetes("west") as client:
            (raw,) = await client.list(POD, "kube-system", label_selector="k8s-app=clustermesh-apiserver")
            await client.delete(POD, msgspec.json.decode(raw)["metadata"]["name"], "kube-system")
        await eventually(lambda: _is_other(trio, before), 60, 0.2)
        await _wait_control_plane(trio, "west")
        await trio.settle(HEALED_SECONDS)
    assert [answer for answer in answers if not answer.served_by] == []


async def _wait_control_plane(trio: Trio, cluster: str) -> None:
    """Every part of it is ready by its own word."""
    await trio.lab.command("enable", "--context", cluster, "--wait", "--wait-duration", "60s")


async def _compact(trio: Trio) -> None:
    west = trio.plan.cluster("west")
    status = json.loads(await etcdctl(west, "endpoint", "status", "-w", "json"))
    revision = status[0]["Status"]["header"]["revision"]
    assert await etcdctl(west, "compact", str(revision)) != b"{}"


async def _cluster_id(trio: Trio) -> int:
    printed = json.loads(
        await etcdctl(trio.plan.cluster("west"), "endpoint", "status", "-w", "json") or b"[]"
    )
    return int(printed[0]["Status"]["header"]["cluster_id"]) if printed else 0


async def _is_other(trio: Trio, before: int) -> bool:
    return await _cluster_id(trio) not in (0, before)
