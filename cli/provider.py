"""What kind of place a cluster runs in, and so how peers can reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from cli.errors import CommandError
from cli.settings import CONTROL_LABEL
from k8s.client import Client
from k8s.resource import NODE

LOAD_BALANCER = "LoadBalancer"
# providerID's scheme -> the annotations that keep the load balancer inside the operator's networks
_CLOUDS = {
    "gce": {
        "networking.gke.io/load-balancer-type": "Internal",
        "networking.gke.io/internal-load-balancer-allow-global-access": "true",
    },
    "azure": {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"},
    "aws": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"},
}


class NodeMetadata(msgspec.Struct, frozen=True):
    name: str = ""
    labels: dict[str, str] = {}


class NodeSpec(msgspec.Struct, frozen=True):
    providerID: str = ""


class Node(msgspec.Struct, frozen=True):
    """The fields by which a cloud is recognised."""

    metadata: NodeMetadata = NodeMetadata()
    spec: NodeSpec = NodeSpec()


@dataclass(frozen=True, slots=True)
class ServiceChoice:
    type: str
    annotations: dict[str, str] = field(default_factory=dict)


async def read_nodes(client: Client) -> list[Node]:
    return [msgspec.json.decode(raw, type=Node) for raw in await client.list(NODE)]


def has_control_node(nodes: Sequence[Node]) -> bool:
    """Whether a node is set aside for the control plane, which then uses that node's network."""
    return any(CONTROL_LABEL in node.metadata.labels for node in nodes)


def service_for(nodes: Sequence[Node], wanted: str | None) -> ServiceChoice:
    """The Service's type and annotations. Raises CommandError where a wrong guess would expose the API."""
    clouds = {node.spec.providerID.partition("://")[0] for node in nodes} & _CLOUDS.keys()
    if len(clouds) == 1 and wanted in {None, LOAD_BALANCER}:
        return ServiceChoice(LOAD_BALANCER, dict(_CLOUDS[clouds.pop()]))
    if wanted is None and has_control_node(nodes):
        return ServiceChoice(LOAD_BALANCER)
    if wanted is None:
        raise CommandError(
            "cannot tell how peers may reach this cluster: give --service-type LoadBalancer or NodePort"
        )
    return ServiceChoice(wanted)
