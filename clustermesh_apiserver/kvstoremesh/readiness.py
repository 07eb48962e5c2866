"""When KVStoreMesh is ready: agents may be sent to what it has copied (spec 3.8). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PER_CLUSTER_SECONDS = 15.0
GLOBAL_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, in seconds, one cluster may hold up readiness without a connection, and all together."""

    per_cluster: float = PER_CLUSTER_SECONDS
    overall: float = GLOBAL_SECONDS


@dataclass(frozen=True, slots=True)
class Copied:
    """One remote cluster, configured `seconds` ago."""

    seconds: float
    was_connected: bool
    is_stored: bool


def is_ready(seconds: float, remotes: Iterable[Copied] | None, patience: Patience) -> bool:
    """`seconds` since the start. `remotes` None: the configuration was not read yet."""
    if seconds >= patience.overall:
        return True
    if remotes is None:
        return False
    return all(
        remote.is_stored or (not remote.was_connected and remote.seconds >= patience.per_cluster)
        for remote in remotes
    )
