"""What one peer's connection says of itself, one frozen value that health, metrics and APIs read. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mesh.clusterconfig import ClusterConfig
from mesh.keys import Kind
from mesh.servicemode import DEFAULT_KINDS

WAITING = "Waiting for initial connection to be established"


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """`kinds` is what is imported of this peer.

    `failures` and `last_failure` count broken connections, not attempts that never connected.
    `revocations`: how often the peer was away for so long that services were forgotten.
    """

    connected: bool = False
    text: str = WAITING
    config: ClusterConfig | None = None
    config_required: bool = False
    config_retrieved: bool = False
    kinds: tuple[Kind, ...] = DEFAULT_KINDS
    synced: frozenset[Kind] = field(default_factory=frozenset)
    failures: int = 0
    last_failure: float = 0.0
    revocations: int = 0
    round_trip: float = 0.0  # seconds that reading one key took when the connection was made

    @property
    def is_synced(self) -> bool:
        return self.synced.issuperset(self.kinds)

    @property
    def is_ready(self) -> bool:
        """Connected, configuration retrieved, every import complete (spec 3.3)."""
        return self.connected and self.config_retrieved and self.is_synced

    def with_changes(self, **changes: Any) -> PeerStatus:
        return replace(self, **changes)
