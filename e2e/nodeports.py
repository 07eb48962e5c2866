"""The global service `web`, of both families, with a node port in east, and who answers at it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.knocking import Target, by_cluster
from lab.demo.objects import NAMESPACE, deployment, service
from lab.plan import LabPlan

NODE_PORT = 30_080
TIMES = 40  # of four pods in two clusters: that one cluster gets none has the odds 2 ** -39

FRONT, OWN_PORT = "front", 30_085  # a server on a node's own network, and where it listens

_BIND = """
import socket, sys
try:
    socket.socket().bind(("0.0.0.0", int(sys.argv[1])))
except OSError as error:
    print(error.errno)
"""

Answers = Callable[[], Awaitable[list[Counter[str]]]]


def web(kind: str, policy: str = "Cluster") -> dict[str, Any]:
    body = service("web")
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    ports.append({"name": "http-udp", "port": 80, "targetPort": 8080, "protocol": "UDP"})
    if kind == "NodePort":
        ports = [port | {"nodePort": NODE_PORT} for port in ports]
        body["spec"]["externalTrafficPolicy"] = policy
    return body | {
        "spec": body["spec"] | {"type": kind, "ports": ports, "ipFamilyPolicy": "RequireDualStack"}
    }


def without_world(name: str) -> dict[str, Any]:
    """A policy: `web`'s pods take everything but what comes from outside of the mesh."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"fromEntities": ["all"]}],
            "ingressDeny": [{"fromEntities": ["world"]}],
        },
    }


def plain() -> dict[str, Any]:
    """`web` as it was."""
    body = service("web")
    return body | {"spec": body["spec"] | {"ipFamilyPolicy": "SingleStack"}}


def own_port_service(target: int | str) -> dict[str, Any]:
    body = service(FRONT, annotations={})
    port = {"name": "http", "port": 80, "targetPort": target, "nodePort": OWN_PORT, "protocol": "TCP"}
    return body | {"spec": body["spec"] | {"type": "NodePort", "ports": [port]}}


def own_port_server(node: str) -> dict[str, Any]:
    body = deployment(FRONT, replicas=1)
    pod = body["spec"]["template"]["spec"]
    pod |= {"hostNetwork": True, "nodeSelector": {"kubernetes.io/hostname": node}}
    pod["containers"][0] |= {
        "args": [str(OWN_PORT)],
        "ports": [{"name": "http", "containerPort": OWN_PORT, "protocol": "TCP"}],
    }
    return body


def targets(plan: LabPlan, protocol: str, times: int = TIMES) -> list[Target]:
    """One for each node of east, at its IPv4 address."""
    nodes = plan.cluster("east").nodes[1:]
    return [Target(str(node.ip), NODE_PORT, protocol, times) for node in nodes]


def targets6(plan: LabPlan, protocol: str, times: int = TIMES) -> list[Target]:
    """As `targets`, at the IPv6 addresses."""
    nodes = plan.cluster("east").nodes[1:]
    return [Target(str(node.ip6), NODE_PORT, protocol, times) for node in nodes]


def all_targets(plan: LabPlan, protocol: str, times: int = TIMES) -> list[Target]:
    return [*targets(plan, protocol, times), *targets6(plan, protocol, times)]


async def until_from(answers: Answers, wanted: set[str]) -> None:
    """Ask again until each node's answers come from these clusters, and every one comes."""
    seen: list[Counter[str]] = []

    async def as_wanted() -> bool:
        seen[:] = [by_cluster(each) for each in await answers()]
        return all(set(each) == wanted for each in seen)

    try:
        await eventually(as_wanted, 20, 0.1)
    except TimeoutError as error:
        raise AssertionError(f"answers come from {seen}, not from {wanted}") from error


async def refusal(mesh: Mesh, pod: str, port: int) -> int:
    """What a process in a pod of east is told when it binds a number: 0, or why not (errno)."""
    enter = ("lab", "--name", mesh.lab.lab, "exec", "east", pod, "--")
    return int(await mesh.lab.command(*enter, sys.executable, "-c", _BIND, str(port)) or 0)
