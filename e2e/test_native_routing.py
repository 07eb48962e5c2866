"""Clusters whose network knows the way to pods: no tunnel, and policy by identity all the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from aiokit.wait import eventually
from e2e.labname import of_checkout
from e2e.nodeports import all_targets, until_from, web
from e2e.outside import knock_from, outside
from e2e.test_node_health import FINE, SOON, sees
from e2e.test_withdrawal import workers
from k8s.resource import CONFIGMAP, POD
from lab.demo.driver import Driver
from lab.demo.objects import ECHO_PORT, NAMESPACE, SLEEP_IMAGE, deny_policy, deployment, service
from lab.demo.steps import is_denied
from lab.plan import LabPlan, make

LAB = of_checkout("native")
CLUSTERS = ["east", "west"]
SETTINGS = (
    "routing-mode=native",
    "auto-direct-node-routes=true",
    "ipv4-native-routing-cidr=10.0.0.0/8",
    "ipv6-native-routing-cidr=fd00:10::/32",
)


@pytest.fixture(scope="module")
def native() -> Iterator[Driver]:
    """Two connected clusters of two nodes each, with web on all of them and a client in east."""
    lab = Driver(LAB)
    try:
        asyncio.run(
            lab.command("lab", "--name", LAB, "up", "--nodes", "2", *map("--config={}".format, SETTINGS))
        )
        asyncio.run(_prepare(lab))
        yield lab
    finally:
        asyncio.run(lab.command("lab", "--name", LAB, "down"))


async def _prepare(lab: Driver) -> None:
    async with asyncio.TaskGroup() as group:
        for cluster in CLUSTERS:
            group.create_task(lab.command("enable", "--context", cluster, "--wait"), name=f"enable {cluster}")
    await lab.command("connect", "--context", "east", "--destination-context", "west")
    host_client = deployment("host-client", replicas=1, image=SLEEP_IMAGE)
    host_client["spec"]["template"]["spec"]["hostNetwork"] = True
    for cluster in CLUSTERS:
        client = deployment("client", replicas=1, image=SLEEP_IMAGE)
        web6 = service("web6")
        web6["spec"] |= {"ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"}}
        await lab.apply(cluster, deployment("web", replicas=2), service("web"), web6, client, host_client)
    for cluster in CLUSTERS:
        for app, count in (("client", 1), ("web", 2), ("host-client", 1)):
            await lab.wait_pods(cluster, app, count)
        await lab.command("status", "--context", cluster, "--wait", "--wait-duration", "60s")


async def url(lab: Driver) -> str:
    return f"http://{await lab.cluster_ip('east', 'web')}/"


async def url6(lab: Driver) -> str:
    asked = ("lab", "--name", lab.lab, "service-ip", "east", "web6", "--ipv6")
    return f"http://[{(await lab.command(*asked)).strip()}]/"


async def addresses(lab: Driver, cluster: str, app: str) -> list[str]:
    """Of the first pod, IPv4 before IPv6."""
    async with lab.kubernetes(cluster) as api:
        raw, *_ = await api.list(POD, NAMESPACE, label_selector=f"app={app}")
        return [each["ip"] for each in json.loads(raw)["status"]["podIPs"]]


async def address(lab: Driver, cluster: str, app: str) -> str:
    return (await addresses(lab, cluster, app))[0]


async def answered_by_all(lab: Driver, client: str, place: str) -> None:
    """Once a pod on every node has answered."""
    answered = set()
    async with lab.curling("east", client, place) as answers:
        async for answer in answers:
            assert answer.served_by
            answered.add(answer.served_by)
            if len(answered) == 4:
                return


def place(ip: str) -> str:
    return f"http://[{ip}]:{ECHO_PORT}/" if ":" in ip else f"http://{ip}:{ECHO_PORT}/"


def inside(plan: LabPlan, *command: str) -> str:
    node = plan.cluster("east").node("node-1")
    words = ["ip", "netns", "exec", node.namespace, *command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.mark.parametrize("app", ["client", "host-client"])
async def test_pods_and_nodes_are_answered_by_both_clusters_without_a_tunnel(
    native: Driver, app: str
) -> None:
    (client,) = await native.wait_pods("east", app, 1)
    await answered_by_all(native, client, await url(native))
    await answered_by_all(native, client, await url6(native))
    for far in await addresses(native, "west", "web"):
        assert (await native.curl("east", client, place(far))).cluster == "west"
    plan = make(LAB, CLUSTERS, 2)
    assert "cilium_vxlan" not in inside(plan, "ip", "-br", "link")
    ways = inside(plan, "ip", "route")
    assert "10.1.2.0/24 via 198.18.1.12 dev eth0 proto 110" in ways
    assert "10.2.1.0/24 via 198.18.2.11 dev eth0 proto 110" in ways
    ways = inside(plan, "ip", "-6", "route")
    assert "fd00:10:1:2::/64 via fd00:18::1:c dev eth0 proto 110" in ways
    assert "fd00:10:2:1::/64 via fd00:18::2:b dev eth0 proto 110" in ways


async def test_nothing_is_masqueraded_in_either_family(native: Driver) -> None:
    (client,) = await native.wait_pods("east", "client", 1)
    own = await addresses(native, "east", "client")
    for mine, far in zip(own, await addresses(native, "west", "web"), strict=True):
        curl = ("exec", "east", client, "--", "curl", "-sS", "--max-time", "2", place(far))
        said = json.loads(await native.command("lab", "--name", LAB, *curl))
        assert (said["cluster"], said["peer"]) == ("west", mine)


async def test_a_node_port_is_served_to_clients_outside_without_a_tunnel(native: Driver) -> None:
    lab = make(LAB, CLUSTERS, 2)
    await native.apply("west", web("ClusterIP"))
    await native.apply("east", web("NodePort"))
    with outside(lab) as namespace:
        for protocol in ("TCP", "UDP"):
            asked = all_targets(lab, protocol)
            await until_from(lambda asked=asked: knock_from(namespace, asked), {"east", "west"})


async def test_nodes_health_endpoints_answer_without_a_tunnel(native: Driver) -> None:
    lab = make(LAB, CLUSTERS, 2)
    for cluster, peer in (("east", "west"), ("west", "east")):
        fine = {f"{peer}/{node.name}": FINE for node in workers(lab, peer)}
        for node in workers(lab, cluster):
            await eventually(partial(sees, native, node, fine), SOON, 0.1)


async def test_pods_have_the_network_s_own_mtu(native: Driver) -> None:
    (client,) = await native.wait_pods("east", "client", 1)
    shown = await native.command(
        "lab", "--name", LAB, "exec", "east", client, "--", "ip", "link", "show", "eth0"
    )
    assert "mtu 1500" in shown


async def test_a_remote_identity_is_denied_by_its_address(native: Driver) -> None:
    (client,) = await native.wait_pods("east", "client", 1)
    far, far6 = map(place, await addresses(native, "west", "web"))
    await native.apply("west", deny_policy("no-east", protects="web", app="client", cluster="east"))
    try:
        (near,) = await native.wait_pods("west", "client", 1)
        for each in (far, far6):
            assert await is_denied(native, client, each)
            assert (await native.curl("west", near, each)).cluster == "west"
    finally:
        await native.delete("west", "CiliumNetworkPolicy", "no-east")
    async with asyncio.timeout(20):
        for each in (far, far6):
            while not (await native.curl("east", client, each)).served_by:
                pass


async def test_a_cluster_of_the_other_mode_is_refused_before_anything_changes(native: Driver) -> None:
    async with native.kubernetes("west") as api:
        await api.merge_patch(CONFIGMAP, "cilium-config", {"data": {"routing-mode": "tunnel"}}, "kube-system")
        try:
            said = await native.command(
                *("checks", "run", "--context", "east", "--destination-context", "west", "-o", "json"),
                check=False,
            )
        finally:
            await api.merge_patch(
                CONFIGMAP, "cilium-config", {"data": {"routing-mode": "native"}}, "kube-system"
            )
    assert [each["check"] for each in json.loads(said)] == ["routing-mode-differs"]
