"""Which of one source's endpoints are backends of one service port. Pure; remembers what it found.

By the port's name: the numbers may differ, and an unnamed port matches an unnamed one (spec 5.2). When one
of ten thousand endpoints changes, a `Matcher` looks at that one and copies the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mesh.ip import canonical_ip
from mesh.service import Port, Zone


class Backend(NamedTuple):
    """`cluster_id` is 0 for our own.

    `weight` is the share that its cluster gets among the clusters of one frontend; 0 everywhere: there are no
    shares, and each backend counts alike.
    """

    ip: str
    port: int
    protocol: str
    cluster_id: int
    weight: int = 0


class ServicePort(NamedTuple):
    """`node_port`: where nodes serve it too; 0: nowhere. `target`: the backends' number; 0: it
    is by their name for it."""

    name: str
    protocol: str
    port: int
    node_port: int = 0
    target: int = 0


class Source(NamedTuple):
    """Endpoints that one source tells: address -> ports by name. `name` is unique within a service; `zones`
    says of those that have one where they are."""

    name: str
    cluster_id: int
    endpoints: Mapping[str, Mapping[str, Port]]
    zones: Mapping[str, Zone] = {}


Found = Mapping[str, Backend]  # by address, in canonical text


class _Last(NamedTuple):
    """`is_plain`: each address was told in its own form, so that one that goes leaves no other form of it."""

    source: Source
    found: Found
    is_plain: bool = True


class Matcher:
    """For the sources of one service. What it gave out is not changed afterwards."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str, int], _Last] = {}
        self._used: set[tuple[str, str, str, int]] = set()

    def match(self, source: Source, port: ServicePort, version: int) -> Found:
        key = (source.name, port.name, port.protocol, version)
        self._used.add(key)
        last = self._last.get(key)
        if last is not None and last.source.cluster_id != source.cluster_id:
            last = None
        if last is not None and last.source.endpoints is source.endpoints:
            return last.found
        found = _updated(last, source, port) if last is not None and last.is_plain and version == 4 else None
        is_plain = True
        if found is None:
            matching = list(_matching(source.endpoints.items(), port, version, source.cluster_id))
            found = {backend.ip: backend for _, backend in matching}
            is_plain = version == 6 or all(":" not in text for text, _ in matching)
        self._last[key] = _Last(source, found, is_plain)
        return found

    def forget_unused(self) -> None:
        """Let go of what no `match` since the last call has asked for."""
        for key in self._last.keys() - self._used:
            del self._last[key]
        self._used.clear()


def _updated(last: _Last, source: Source, port: ServicePort) -> dict[str, Backend] | None:
    """None where an address with colons changed: it may be another form of one that stays."""
    before, now = last.source.endpoints, source.endpoints
    changed = [(ip, ports) for ip, ports in now.items() if before.get(ip) != ports]
    touched = {ip for ip, _ in changed} | (before.keys() - now.keys())
    if any(":" in ip for ip in touched):
        return None
    found = dict(last.found)
    for ip in touched:
        found.pop(ip, None)
    found.update(_matching(changed, port, 4, source.cluster_id))
    return found


def _matching(
    endpoints: Iterable[tuple[str, Mapping[str, Port]]], wanted: ServicePort, version: int, cluster_id: int
) -> Iterable[tuple[str, Backend]]:
    """With the addresses as their source writes them."""
    name, protocol = wanted.name, wanted.protocol
    for text, ports in endpoints:
        port = ports.get(name)
        if port is None or port.protocol != protocol:
            continue
        ip = text if ":" not in text else canonical_ip(text) or text  # peers may write IPv6 in any form
        if (":" in ip) == (version == 6):
            yield text, Backend(ip, port.port, protocol, cluster_id)
