"""What somebody says of a peer: RemoteCluster as it is read (spec 8.1). Lenient with other versions. Pure.

What is zero or false is left out, so every field has a default. `programmed`, `refusals`, `refused-now`,
`outside-addresses` and `round-trip-ms` are this project's own; other agents do not send them.
"""

from __future__ import annotations

import msgspec

NEVER = "0001-01-01T00:00:00.000Z"


class RemoteConfig(msgspec.Struct, frozen=True, rename="kebab"):
    required: bool = False
    retrieved: bool = False
    cluster_id: int = 0
    kvstoremesh: bool = False
    sync_canaries: bool = False
    service_exports_enabled: bool | None = None
    endpoint_slices_export_mode: str = ""


class Synced(msgspec.Struct, frozen=True, rename="kebab"):
    nodes: bool = False
    endpoints: bool = False
    identities: bool = False
    services: bool = False
    service_exports: bool | None = None
    endpoint_slices: bool | None = None

    @property
    def pending(self) -> list[str]:
        """The resources whose first listing is not complete."""
        every = {
            "endpoints": self.endpoints,
            "identities": self.identities,
            "nodes": self.nodes,
            "services": self.services,
            "service-exports": self.service_exports,
            "endpoint-slices": self.endpoint_slices,
        }
        return [name for name, done in every.items() if done is False]


class RemoteCluster(msgspec.Struct, frozen=True, rename="kebab"):
    name: str = ""
    connected: bool = False
    ready: bool = False
    programmed: bool | None = None
    status: str = ""
    config: RemoteConfig | None = None
    synced: Synced | None = None
    num_nodes: int = 0
    num_endpoints: int = 0
    num_identities: int = 0
    num_shared_services: int = 0
    num_service_exports: int = 0
    num_endpoint_slices: int = 0
    num_failures: int = 0
    last_failure: str = NEVER
    refusals: dict[str, int] = {}
    refused_now: dict[str, int] | None = None  # None: said by an older version
    outside_addresses: int = 0
    round_trip_ms: float = 0.0  # one read of the peer's etcd when it was connected; 0: not measured

    @property
    def refused(self) -> dict[str, int]:
        """Now; by an older version's word, ever."""
        return self.refusals if self.refused_now is None else self.refused_now

    @property
    def needs_a_look(self) -> bool:
        """Not usable, or it says things that were refused or that are not its own."""
        return bool(not self.is_usable or self.refused or self.outside_addresses)

    @property
    def failed_at(self) -> str:
        """When the connection broke last; empty for never."""
        return "" if self.last_failure.startswith("0001-") else self.last_failure

    @property
    def is_usable(self) -> bool:
        """Connected, complete, and in the kernel's maps where the agent says so."""
        return self.ready and self.programmed is not False

    @property
    def hindrance(self) -> str:
        """Why it is not usable yet, in Cilium's words; empty when it is."""
        if self.is_usable:
            return ""
        if not self.connected:
            return self.status or "not connected"
        return self._unretrieved or self._unsynced

    @property
    def _unretrieved(self) -> str:
        if self.config is None:
            return "remote cluster configuration retrieval status unknown"
        is_absent = self.config.required and not self.config.retrieved
        return "remote cluster configuration required but not found" if is_absent else ""

    @property
    def _unsynced(self) -> str:
        if self.synced is None:
            return "synchronization status unknown"
        if self.synced.pending:
            return f"synchronization in progress for {', '.join(self.synced.pending)}"
        return "not programmed yet" if self.programmed is False else "not ready"
