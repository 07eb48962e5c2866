"""What a process's traffic with etcd costs it, by scope. Pure: times are passed in.

One for the whole process: connections come and go, what was counted stays. Scopes, kinds and actions are
Cilium's (spec 4.8); `kvstore.metric` shows them to Prometheus.
"""

from __future__ import annotations

from collections import Counter

from aiokit.histogram import Histogram

# A request on loopback takes under a millisecond, a full transaction some tens, a time-out 15 s.
OPERATION_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
# From hearing of a change to having it stored: milliseconds when all is well, minutes in an outage.
PROPAGATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)

_SHORT = 12  # bytes of a key that has no scope


class Meter:
    """All fields may be read at any time; their keys are the labels, in order."""

    def __init__(self) -> None:
        self.operations: dict[tuple[str, str, str, str], Histogram] = {}  # scope, kind, action, outcome
        self.handled: dict[tuple[str, str], Histogram] = {}  # scope, action
        self.propagations: dict[tuple[str, str], Histogram] = {}  # scope, source cluster
        self.quorum_errors: Counter[str] = Counter()

    def operation(self, key: bytes, kind: str, action: str, seconds: float, *, failed: bool) -> None:
        """One request. `kind` is read, set or delete; `action` the request's name."""
        labels = (scope_of(key), kind, action, "fail" if failed else "success")
        self.operations.setdefault(labels, Histogram(OPERATION_BOUNDS)).observe(seconds)

    def event(self, key: bytes, action: str, seconds: float, count: int) -> None:
        """`count` events of a watch were `seconds` with the reader before it came for the next."""
        self.handled.setdefault((scope_of(key), action), Histogram(OPERATION_BOUNDS)).observe(seconds, count)

    def propagation(self, key: bytes, source_cluster: str) -> Histogram:
        """Where to note how long entries below `key` took from being heard of to being stored."""
        return self.propagations.setdefault((scope_of(key), source_cluster), Histogram(PROPAGATION_BOUNDS))

    def quorum_error(self, reason: str) -> None:
        """Etcd, or its writer, did not answer in time. `reason` comes from a short, closed list."""
        self.quorum_errors[reason] += 1


def scope_of(key: bytes) -> str:
    """The key's third and fourth part (`ip/v1`); of a key with fewer parts, its beginning (spec 4.8)."""
    parts = key.split(b"/", 4)
    scope = key[:_SHORT] if len(parts) < 4 else b"/".join(parts[2:4])
    return scope.decode(errors="backslashreplace")
