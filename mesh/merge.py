"""Backends of one service from many clusters -> what each of our frontends uses (spec 5.1, 5.2).

Pure and total. Frontends come only from the local Service: a remote frontend is never used. The result is
in one order for one set of inputs, whatever the order in which peers spoke.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from mesh.addressing import UNSET_CLUSTER
from mesh.ip import canonical_ip, family
from mesh.service import GlobalService, Port

# the first name that is present counts, whatever it says
GLOBAL = ("service.cilium.io/global", "io.cilium/global-service")
SHARED = ("service.cilium.io/shared", "io.cilium/shared-service")
AFFINITY = ("service.cilium.io/affinity", "io.cilium/service-affinity")

LOCAL_CLUSTER = UNSET_CLUSTER  # the cluster id of our own backends


class Affinity(Enum):
    """Which backends a global service prefers."""

    NONE = "none"
    LOCAL = "local"
    REMOTE = "remote"


class Frontend(NamedTuple):
    ip: str
    port: int
    protocol: str


class Backend(NamedTuple):
    """`cluster_id` is 0 for our own."""

    ip: str
    port: int
    protocol: str
    cluster_id: int


class ServicePort(NamedTuple):
    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """One of our own endpoints; it says `terminating` when it still serves but wants no new connections."""

    ip: str
    ports: Mapping[str, Port]
    state: Literal["active", "terminating"] = "active"


@dataclass(frozen=True, slots=True)
class LocalService:
    """What Kubernetes says of the service here."""

    namespace: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    backends: tuple[LocalBackend, ...] = ()


def is_global(annotations: Mapping[str, str]) -> bool:
    return _first(annotations, GLOBAL, "").lower() == "true"


def is_shared(annotations: Mapping[str, str]) -> bool:
    """Whether our backends are exported. The trap is the field's own: "yes" means no."""
    return is_global(annotations) and _first(annotations, SHARED, "true").lower() == "true"


def affinity(annotations: Mapping[str, str]) -> Affinity:
    """An unknown value is none; so is any value while the service is not global."""
    text = _first(annotations, AFFINITY, "").lower() if is_global(annotations) else ""
    try:
        return Affinity(text)
    except ValueError:
        return Affinity.NONE


def _first(annotations: Mapping[str, str], names: tuple[str, ...], default: str) -> str:
    return next((annotations[name] for name in names if name in annotations), default)


def backends_for(
    local: LocalService, remotes: Iterable[GlobalService]
) -> Mapping[Frontend, tuple[Backend, ...]]:
    """Every frontend of `local` with the backends that new connections go to.

    `remotes` may be any services: those of another name, or not shared, take no part.
    """
    wanted = (local.namespace, local.name)
    taking_part = [
        remote for remote in remotes if remote.shared and (remote.namespace, remote.name) == wanted
    ]
    return {
        Frontend(ip, port.port, port.protocol): _choose(local, taking_part, ip, port)
        for ip in local.cluster_ips
        for port in local.ports
    }


def _choose(
    local: LocalService, remotes: list[GlobalService], ip: str, port: ServicePort
) -> tuple[Backend, ...]:
    version = family(ip)
    states = {"active": set[Backend](), "terminating": set[Backend]()}
    for near_by in local.backends:
        states[near_by.state].update(_matching([(near_by.ip, near_by.ports)], version, port, LOCAL_CLUSTER))
    active, terminating = states["active"], states["terminating"] - states["active"]
    near, far = active | terminating, list[Backend]()
    if is_global(local.annotations):
        for remote in remotes:
            far += _matching(remote.backends.items(), version, port, remote.cluster_id)
    match affinity(local.annotations):
        case Affinity.LOCAL if active:
            far = []
        case Affinity.REMOTE if far:
            near = set()
    chosen = _without_doubles([*near, *sorted(far, key=_order)])
    serving = [backend for backend in chosen if backend not in terminating] if terminating else chosen
    return tuple(sorted(serving or chosen, key=_order))  # what ends serves only while nothing else does


def _matching(
    backends: Iterable[tuple[str, Mapping[str, Port]]], version: int, wanted: ServicePort, cluster_id: int
) -> list[Backend]:
    """By the port's name: the numbers may differ. An unnamed port matches an unnamed one."""
    name, protocol, _ = wanted
    found = []
    for text, ports in backends:
        port = ports.get(name)
        if port is None or port.protocol != protocol:
            continue
        ip = text if ":" not in text else canonical_ip(text) or text  # peers may write IPv6 in any form
        if (":" in ip) == (version == 6):
            found.append(Backend(ip, port.port, protocol, cluster_id))
    return found


def _without_doubles(backends: list[Backend]) -> list[Backend]:
    """One backend an address, the first: our own word on it counts, then that of the lowest cluster id."""
    by_address = {(backend.ip, backend.port): backend for backend in reversed(backends)}
    return list(by_address.values())


def _order(backend: Backend) -> tuple[int, str, int]:
    return backend.cluster_id, backend.ip, backend.port
