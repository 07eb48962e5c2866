"""Endpoints that share one answer of the policies, and that answer in the policy map's terms. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.endpoints import Endpoint
from agent.labels import from_texts
from mesh.identity import Labels
from mesh.namedports import NamedPorts, gathered
from mesh.policy import PolicyEntry
from mesh.service import Port

GroupKey = tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]  # labels, named ports
Width = tuple[int, int, bool, int]  # port, protocol, egress, open bits


class PolicyKey(NamedTuple):
    endpoint: int
    identity: int
    port: int
    protocol: int
    egress: bool = False
    open_bits: int = 0


@dataclass(frozen=True, slots=True)
class ProgrammedEndpoint:
    """An endpoint as the kernel must know it."""

    endpoint: Endpoint
    enforced: bool
    egress_enforced: bool = False
    has_ranges: bool = False


@dataclass(slots=True)
class Group:
    """Endpoints with the same labels and named ports. `entries` by identity; 0 is "any"."""

    labels: Labels
    named_ports: NamedPorts
    enforced: bool = False
    egress_enforced: bool = False
    has_ranges: bool = False  # once true it stays so while policies stand: it only costs time
    entries: dict[int, frozenset[PolicyEntry]] = field(default_factory=dict)
    members: dict[int, Endpoint] = field(default_factory=dict)


def by_identity(entries: Iterable[PolicyEntry]) -> dict[int, frozenset[PolicyEntry]]:
    sets: dict[int, set[PolicyEntry]] = {}
    for entry in entries:
        sets.setdefault(entry.identity, set()).add(entry)
    return {number: frozenset(group) for number, group in sets.items()}


def denies(entries: Iterable[PolicyEntry]) -> dict[Width, bool]:
    """Which ports, protocol and direction -> deny. Where one rule allows what another denies, deny wins."""
    result: dict[Width, bool] = {}
    for entry in entries:
        width = width_of(entry)
        result[width] = result.get(width, False) or entry.deny
    return result


def width_of(entry: PolicyEntry | PolicyKey) -> Width:
    return entry.port, entry.protocol, entry.egress, entry.open_bits


def has_ranges_in(entries: Iterable[PolicyEntry]) -> bool:
    return any(entry.open_bits for entry in entries)


def group_key(endpoint: Endpoint) -> GroupKey:
    return endpoint.labels, endpoint.named_ports


def new_group(endpoint: Endpoint) -> Group:
    return Group(from_texts(list(endpoint.labels)), named_ports(endpoint))


def named_ports(endpoint: Endpoint) -> NamedPorts:
    return gathered((name, Port(protocol, port)) for name, protocol, port in endpoint.named_ports)
