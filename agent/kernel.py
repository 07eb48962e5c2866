"""The loaded data path in the agent's own terms: each table and the map it is written to."""

from __future__ import annotations

from collections.abc import Mapping

from agent.datapath import ENDPOINTS, IPCACHE, POLICY, SERVICES
from agent.ipcache import IPCacheEntry
from agent.mapsync import MapSync, MapTarget, TableSync
from agent.policy import PolicyKey, ProgrammedEndpoint
from agent.servicesync import ServiceSync, ServiceTarget, backends_of
from agent.tables import Tables
from bpf import endpoint_map, ipcache_map, policy_map, spec
from mesh.merge import Backend, Frontend

SPECS = {IPCACHE: spec.IPCACHE, POLICY: spec.POLICY, ENDPOINTS: spec.ENDPOINTS}


class KernelMaps:
    """Satisfies `agent.datapath.Kernel`."""

    def __init__(
        self,
        tables: Tables,
        *,
        ipcache: MapTarget,
        policy: MapTarget,
        endpoints: MapTarget,
        services: ServiceTarget,
    ) -> None:
        self._ipcache = ipcache
        self._policy = policy
        self._services = services
        self._tables: dict[str, TableSync] = {
            IPCACHE: MapSync(tables.ipcache.wanted, ipcache, ipcache_map.pack_key, pack_ipcache),
            POLICY: MapSync(tables.policies.entries, policy, pack_policy_key, pack_deny),
            ENDPOINTS: MapSync(tables.policies.endpoints, endpoints, endpoint_map.pack_key, pack_endpoint),
            SERVICES: ServiceSync(tables.services.wanted, services),
        }

    @property
    def tables(self) -> Mapping[str, TableSync]:
        return self._tables

    def pressure(self) -> dict[str, float]:
        """How full each map is; above 1 where more is wanted than fits."""
        sizes = {name: len(table) for name, table in self._tables.items()}
        filled = {each.name: sizes[name] / each.max_entries for name, each in SPECS.items()}
        return filled | dict(self._services.pressure())

    def recovered_prefixes(self) -> dict[str, IPCacheEntry]:
        found: dict[str, IPCacheEntry] = {}
        for raw_key, raw in self._ipcache.dump().items():
            key = ipcache_map.unpack_key(raw_key)
            if key.cluster_id == 0:  # others are not ours to write
                value = ipcache_map.unpack_value(raw)
                found[key.prefix_text] = IPCacheEntry(value.identity, value.tunnel, value.encrypt_key)
        return found

    def recovered_backends(self) -> dict[Frontend, tuple[Backend, ...]]:
        return backends_of(self._services.dump())

    def recovered_policy(self) -> dict[PolicyKey, bool]:
        found: dict[PolicyKey, bool] = {}
        for raw_key, raw in self._policy.dump().items():
            key = policy_map.unpack_key(raw_key)
            egress = key.direction is policy_map.Direction.EGRESS
            name = PolicyKey(key.endpoint_id, key.identity, key.port, key.protocol, egress, key.open_bits)
            found[name] = policy_map.unpack_value(raw)
        return found


def pack_ipcache(entry: IPCacheEntry) -> bytes:
    return ipcache_map.pack_value(entry.identity, entry.tunnel, entry.encrypt_key)


def pack_policy_key(key: PolicyKey) -> bytes:
    direction = policy_map.Direction.EGRESS if key.egress else policy_map.Direction.INGRESS
    return policy_map.pack_key(key.endpoint, key.identity, key.port, key.protocol, direction, key.open_bits)


def pack_deny(deny: bool) -> bytes:
    return policy_map.pack_value(deny=deny)


def pack_endpoint(programmed: ProgrammedEndpoint) -> bytes:
    endpoint = programmed.endpoint
    return endpoint_map.pack_value(
        endpoint_map.Endpoint(
            ifindex=endpoint.ifindex,
            endpoint_id=endpoint.id,
            identity=endpoint.identity,
            mac=endpoint.mac,
            node_mac=endpoint.host_mac,
            ingress_enforced=programmed.enforced,
            egress_enforced=programmed.egress_enforced,
            port_ranges=programmed.has_ranges,
        )
    )
