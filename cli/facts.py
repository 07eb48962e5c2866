"""What a cluster says of itself, read once, before a command decides anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from certs import bundle, check
from certs.bundle import TrustBundle
from certs.errors import CertificateError
from cli import secret
from cli.settings import (
    CA_SECRET,
    CLIENT_PORT,
    CONFIG_MAP,
    KVSTOREMESH,
    MIGRATION,
    MIRRORED_SECRET,
    PEERS_SECRET,
    SERVICE,
)
from cli.target import Target
from k8s import objects
from k8s.client import Client
from k8s.core import ConfigMap, Node, Secret, Service
from k8s.resource import CONFIGMAP, DEPLOYMENT, NODE, SECRET
from k8s.resource import SERVICE as SERVICE_KIND
from mesh.ip import with_port

RESOLVE_SECONDS = 5.0
ENDPOINTS = b"endpoints:"  # what makes a file of the peers' Secret a peer (spec 3.1)


@dataclass(frozen=True, slots=True)
class Address:
    """Where peers reach a cluster's mesh API."""

    ip: str
    port: int

    def __str__(self) -> str:
        return with_port(self.ip, self.port)


class Reached(Enum):
    """How an address answered when it was dialled."""

    ANSWERED = "answered"
    REFUSED = "refused"  # somebody says that nobody listens there
    SILENT = "silent"  # nothing came back, or there is no way


@dataclass(frozen=True, slots=True)
class Probe:
    """One address, dialled from this machine."""

    address: Address
    reached: Reached
    error: str = ""
    certificate: tuple[check.Finding, ...] = ()  # what is wrong with the one that was shown


@dataclass(frozen=True, slots=True)
class Survey:
    """What `cli.survey` found; empty where it has not looked."""

    pod_cidrs: tuple[str, ...] = ()
    certificate: tuple[check.Finding, ...] = ()  # what is wrong with the server's, as it is stored
    probes: tuple[Probe, ...] = ()
    known: Mapping[str, int] = field(default_factory=dict)  # peers that it reads, and their ids


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """`cluster_id` and the capacity are as written there: `preflight` judges them."""

    target: Target
    name: str = ""
    cluster_id: str = ""
    max_connected_clusters: str = "255"
    service_type: str = ""  # empty: the mesh is not enabled
    addresses: tuple[Address, ...] = ()
    trust: TrustBundle | None = None
    peers: frozenset[str] = frozenset()  # that the agents follow
    kvstoremesh: bool = False  # runs here
    mirrored: frozenset[str] = frozenset()  # peers that it follows
    leaves: secret.Secrets = field(default_factory=dict, repr=False)
    config: Mapping[str, str] = field(default_factory=dict)  # ConfigMap cilium-config, whole
    survey: Survey = field(default_factory=Survey)


async def read(client: Client, target: Target) -> ClusterFacts:
    """All facts of one cluster. Raises KubernetesError."""
    namespace = target.namespace
    async with asyncio.TaskGroup() as group:
        config = group.create_task(config_map(client, namespace), name="read config")
        service = group.create_task(_service(client, namespace), name="read service")
        authority = group.create_task(secret_data(client, CA_SECRET, namespace), name="read CA")
        peers = group.create_task(secret_data(client, PEERS_SECRET, namespace), name="read peers")
        mirrored = group.create_task(secret_data(client, MIRRORED_SECRET, namespace), name="read mirrored")
        mesh = group.create_task(client.get(DEPLOYMENT, SERVICE, namespace), name="read mesh")
        leaves = {
            name: group.create_task(secret_data(client, name, namespace), name=f"read {name}")
            for name in secret.LEAVES
        }
    found = {name: task.result() for name, task in leaves.items()}
    kept = {name: data for name, data in found.items() if data is not None}
    data = config.result()
    name = data.get("cluster-name", "")
    shown = service.result()
    return ClusterFacts(
        target,
        name=name,
        cluster_id=data.get("cluster-id", ""),
        max_connected_clusters=data.get("max-connected-clusters", "255"),
        service_type=shown.spec.type if shown else "",
        addresses=await addresses(client, shown),
        trust=_trust(authority.result(), kept),
        peers=peer_names(peers.result() or {}, name),
        kvstoremesh=has_kvstoremesh(mesh.result()),
        mirrored=peer_names(mirrored.result() or {}, name),
        leaves=kept,
        config=data,
    )


class _Container(msgspec.Struct):
    name: str = ""
    args: list[str] = []


class _PodSpec(msgspec.Struct):
    containers: list[_Container] = []


class _Template(msgspec.Struct):
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)


class _DeploymentSpec(msgspec.Struct):
    replicas: int = 1
    template: _Template = msgspec.field(default_factory=_Template)


class _Deployment(msgspec.Struct):
    spec: _DeploymentSpec = msgspec.field(default_factory=_DeploymentSpec)


def replicas(deployment: bytes) -> int:
    return msgspec.json.decode(deployment, type=_Deployment).spec.replicas


def has_kvstoremesh(deployment: bytes | None) -> bool:
    """Whether this control plane mirrors its peers."""
    if deployment is None:
        return False
    found = msgspec.json.decode(deployment, type=_Deployment).spec.template.spec.containers
    return any(container.name == KVSTOREMESH for container in found)


def auth_mode(deployment: bytes) -> str:
    """How this control plane's proxy tells its peers apart; as a proxy does that was not told."""
    return _flag(deployment, "--auth-mode=") or MIGRATION


def ip_families(deployment: bytes) -> str:
    """What this operator was told of its cluster's Services; empty: nothing."""
    return _flag(deployment, "--ip-families=")


def _flag(deployment: bytes, flag: str) -> str:
    """Empty where no container has it."""
    containers = msgspec.json.decode(deployment, type=_Deployment).spec.template.spec.containers
    found = [arg.removeprefix(flag) for each in containers for arg in each.args if arg.startswith(flag)]
    return found[-1] if found else ""


def peer_names(data: Mapping[str, bytes], local_name: str) -> frozenset[str]:
    """The clusters that the peers' Secret configures."""
    return frozenset(name for name, text in data.items() if ENDPOINTS in text and name != local_name)


async def config_map(client: Client, namespace: str) -> Mapping[str, str]:
    raw = await client.get(CONFIGMAP, CONFIG_MAP, namespace)
    return objects.decode(raw, ConfigMap).data if raw else {}


async def secret_data(client: Client, name: str, namespace: str) -> Mapping[str, bytes] | None:
    raw = await client.get(SECRET, name, namespace)
    return objects.decode(raw, Secret).data if raw else None


async def addresses(client: Client, service: Service | None) -> tuple[Address, ...]:
    """Where the Service can be reached from outside; empty while it has no address yet."""
    if service is None:
        return ()
    port = service.spec.ports[0] if service.spec.ports else None
    match service.spec.type:
        case "LoadBalancer":
            ingress = service.status.loadBalancer.ingress
            ips = [entry.ip or await _resolved(entry.hostname) for entry in ingress]
            return tuple(Address(ip, port.port if port else CLIENT_PORT) for ip in ips if ip)
        case "NodePort" if port and port.nodePort:
            node = await _first_node_ip(client)
            return (Address(node, port.nodePort),) if node else ()
        case "ClusterIP" if service.spec.clusterIP and service.spec.clusterIP != "None":
            return (Address(service.spec.clusterIP, port.port if port else CLIENT_PORT),)
        case _:
            return ()


async def nodes(client: Client) -> list[Node]:
    return [objects.decode(raw, Node) for raw in await client.list(NODE)]


async def _service(client: Client, namespace: str) -> Service | None:
    raw = await client.get(SERVICE_KIND, SERVICE, namespace)
    return objects.decode(raw, Service) if raw else None


async def _first_node_ip(client: Client) -> str:
    for node in await nodes(client):
        first = reversed(node.status.addresses)  # a node of both families tells its main one first
        known = {address.type: address.address for address in first}
        if ip := known.get("ExternalIP") or known.get("InternalIP"):
            return ip
    return ""


async def _resolved(hostname: str) -> str:
    """Once, now: peers get addresses because their agents may have no DNS for this name."""
    if not hostname:
        return ""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return ""
    return str(found[0][4][0])


def _trust(authority: Mapping[str, bytes] | None, leaves: secret.Secrets) -> TrustBundle | None:
    """The cluster's own authorities: ca.crt, cert-manager's tls.crt, or what its clients trust."""
    data = authority or {}
    remote = leaves.get(secret.REMOTE, {})
    for pem in (data.get("ca.crt"), data.get("tls.crt"), remote.get("ca.crt")):
        if pem is None:
            continue
        try:
            return bundle.anchors(bundle.parse(pem))
        except CertificateError:
            continue
    return None
