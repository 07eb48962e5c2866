"""Which remote backends answer, while their cluster cannot tell. Pure: no I/O, no clock.

A closed port is the pod's own word. Silence may be a policy that shuts nodes out, so it counts only where
some backend of the same service let us in at some time: one is asked for that while all is well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from mesh.service import GlobalService

FAILURES = 3  # in a row
ANSWERS = 2


class Answer(Enum):
    OPEN = "open"
    CLOSED = "closed"
    SILENT = "silent"
    NONE = "none"  # we could not ask


class Target(NamedTuple):
    """One backend as it is asked. `service` is the peer's "namespace/name"; `port` is of TCP, 0: there is
    none, and its address is asked for an echo."""

    cluster: str
    service: str
    port: int

    @property
    def group(self) -> tuple[str, str]:
        return self.cluster, self.service


def targets(told: Iterable[tuple[str, str, GlobalService]]) -> dict[str, Target]:
    """Every backend; by a TCP port where any service gives it one. `told`: a service's key, a peer, and what
    it says of the service."""
    found: dict[str, Target] = {}
    for key, peer, service in told:
        for ip, ports in service.backends.items():
            tcp = [port.port for port in ports.values() if port.protocol == "TCP"]
            if ip not in found or (tcp and not found[ip].port):
                found[ip] = Target(peer, key, min(tcp, default=0))
    return found


@dataclass(frozen=True, slots=True)
class BackendHealth:
    target: Target
    failures: int = 0
    answers: int = 0
    closed: bool = False  # at the last failure
    silent: bool = False

    def after(self, answer: Answer) -> BackendHealth:
        if answer is Answer.NONE:
            return self
        if answer is Answer.OPEN:
            answers = self.answers + 1
            return replace(self, failures=0, answers=answers, silent=self.silent and answers < ANSWERS)
        failures = self.failures + 1
        return replace(
            self,
            failures=failures,
            answers=0,
            closed=answer is Answer.CLOSED,
            silent=self.silent or failures >= FAILURES,
        )


class BackendHealths:
    """Keyed by address. Remembers which services let us in, for as long as they are told."""

    def __init__(self) -> None:
        self._backends: dict[str, BackendHealth] = {}
        self._heard: set[tuple[str, str]] = set()

    @property
    def asked(self) -> Mapping[str, Target]:
        return {ip: health.target for ip, health in self._backends.items()}

    def keep(self, known: Mapping[str, Target], lost: Collection[str]) -> None:
        """All backends there are, and the clusters that cannot speak for theirs: those are asked."""
        self._heard &= {target.group for target in known.values()}
        self._backends = {
            ip: held
            if (held := self._backends.get(ip)) is not None and held.target == target
            else BackendHealth(target)
            for ip, target in known.items()
            if target.cluster in lost
        }

    def unheard(self, known: Mapping[str, Target], lost: Collection[str]) -> dict[tuple[str, str], list[str]]:
        """Services of clusters that are well of which nobody has let us in yet, and their backends."""
        found: dict[tuple[str, str], list[str]] = {}
        for ip, target in known.items():
            if target.cluster not in lost and target.group not in self._heard:
                found.setdefault(target.group, []).append(ip)
        return found

    def answered(self, ip: str, target: Target, answer: Answer) -> None:
        if answer is Answer.OPEN:
            self._heard.add(target.group)
        held = self._backends.get(ip)
        if held is not None and held.target == target:
            self._backends[ip] = held.after(answer)

    def gone(self) -> dict[str, str]:
        """Backends that should not be used, and why."""
        return {ip: reason for ip, each in self._backends.items() if (reason := self._reason(each))}

    def _reason(self, backend: BackendHealth) -> str:
        if not backend.silent:
            return ""
        if backend.closed:
            return "its port is closed, and its control plane is lost"
        if backend.target.group in self._heard:
            return "it does not answer, others of its service did, and its control plane is lost"
        return ""
