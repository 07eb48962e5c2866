"""The loaded data path in the agent's own terms: each table and the map it is written to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from agent import mapdump
from agent.datapath import ENDPOINTS, IPCACHE, NODES, POLICY, SERVICES
from agent.difference import MapState, as_object
from agent.ipcache import IPCacheEntry
from agent.maglevcheck import MaglevCheck, MaglevTarget
from agent.mapsync import MapSync, TableSync
from agent.policygroup import PolicyKey, ProgrammedEndpoint
from agent.servicecheck import ServiceCheck
from agent.servicemaps import backends_of
from agent.servicesync import ServiceSync, ServiceTarget
from agent.tablecheck import Check, Codec, Readable, TableCheck
from agent.tables import Tables
from bpf import endpoint_map, ipcache_map, node_map, policy_map, spec
from bpf.address import Family
from mesh.localservice import Frontend
from mesh.matching import Backend

MAGLEV = "maglev"  # of checks: no table of ours is written to these maps
SPECS = {IPCACHE: spec.IPCACHE, POLICY: spec.POLICY, ENDPOINTS: spec.ENDPOINTS, NODES: spec.NODES}


class KernelMaps:
    """Satisfies `agent.datapath.Kernel`."""

    def __init__(
        self,
        tables: Tables,
        *,
        ipcache: Readable,
        policy: Readable,
        endpoints: Readable,
        services: ServiceTarget,
        nodes: Readable,
        maglev: MaglevTarget | None = None,
        native: bool = False,
    ) -> None:
        """`native`: nothing is tunnelled, whatever node an address is behind. `maglev`: written along with
        `services`, and only compared here."""
        flags = ipcache_map.FLAG_SKIP_TUNNEL if native else 0
        self._pack_ipcache = partial(pack_ipcache, flags=flags)
        self._wanted = tables
        self._ipcache = ipcache
        self._endpoints = endpoints
        self._policy = policy
        self._nodes = nodes
        self._services = services
        self._maglev = maglev
        known = tables.services
        self._service_sync = ServiceSync(known.wanted, known.masters, services)
        self._tables: dict[str, TableSync] = {
            IPCACHE: MapSync(
                tables.ipcache.wanted,
                ipcache,
                ipcache_map.pack_key,
                self._pack_ipcache,
                pack_many=partial(pack_ipcaches, flags=flags),
            ),
            POLICY: MapSync(
                tables.policies.entries, policy, pack_policy_key, pack_deny, is_urgent=policy_map.unpack_value
            ),
            ENDPOINTS: MapSync(tables.policies.endpoints, endpoints, endpoint_map.pack_key, pack_endpoint),
            SERVICES: self._service_sync,
            NODES: MapSync(tables.node_ids.wanted, nodes, node_map.pack_key, node_map.pack_value),
        }

    @property
    def tables(self) -> Mapping[str, TableSync]:
        return self._tables

    def checks(self) -> dict[str, Check]:
        """What compares each table's maps with the table (agent.verify)."""
        ipcache = Codec(
            ipcache_map.pack_key, self._pack_ipcache, lambda raw: ipcache_map.unpack_key(raw).prefix_text
        )
        policy = Codec(pack_policy_key, pack_deny, unpack_policy_key)
        endpoints = Codec(endpoint_map.pack_key, pack_endpoint, endpoint_map.unpack_key)
        nodes = Codec(node_map.pack_key, node_map.pack_value, node_map.unpack_key)
        wanted = self._wanted
        return {
            IPCACHE: TableCheck(spec.IPCACHE.name, wanted.ipcache.wanted, self._ipcache, ipcache),
            POLICY: TableCheck(spec.POLICY.name, wanted.policies.entries, self._policy, policy),
            ENDPOINTS: TableCheck(spec.ENDPOINTS.name, wanted.policies.endpoints, self._endpoints, endpoints),
            NODES: TableCheck(spec.NODES.name, wanted.node_ids.wanted, self._nodes, nodes),
            SERVICES: ServiceCheck(wanted.services, self._service_sync, self._services),
            **({MAGLEV: MaglevCheck(self._maglev)} if self._maglev else {}),
        }

    def told(self, states: Sequence[MapState]) -> list[dict[str, Any]]:
        """States of maps in words. Blocks: reads the backends, which service entries name."""
        backends: dict[bytes, bytes] = {}  # of both families: their ids differ
        for of in Family:
            backends |= self._services.dump(of).backends
        for state in states:
            if state.name in (spec.LB4_BACKENDS.name, spec.LB6_BACKENDS.name):
                changed = {key: pair.wanted or pair.held for key, pair in state.differing.items()}
                backends |= {key: value for key, value in changed.items() if value}
        return [as_object(state, mapdump.words(state.name, backends)) for state in states]

    def pressure(self) -> dict[str, float]:
        """How full each map is; above 1 where more is wanted than fits."""
        sizes = {name: len(table) for name, table in self._tables.items()}
        filled = {each.name: sizes[name] / each.max_entries for name, each in SPECS.items()}
        return filled | dict(self._services.pressure())

    def unfit(self) -> dict[str, int]:
        """How many entries each map has no room for; of services their backends."""
        names = {**{table: each.name for table, each in SPECS.items()}, SERVICES: spec.LB4_SERVICES.name}
        return {names[table]: sync.unfit for table, sync in self._tables.items()}

    def recovered_prefixes(self) -> dict[str, IPCacheEntry]:
        found: dict[str, IPCacheEntry] = {}
        for raw_key, raw in self._ipcache.dump().items():
            key = ipcache_map.unpack_key(raw_key)
            if key.cluster_id == 0:  # others are not ours to write
                value = ipcache_map.unpack_value(raw)
                found[key.prefix_text] = IPCacheEntry(value.identity, value.tunnel, value.encrypt_key)
        return found

    def recovered_backends(self) -> dict[Frontend, tuple[Backend, ...]]:
        return {f: members for of in Family for f, members in backends_of(self._services.dump(of)).items()}

    def held_prefix(self, ip: str) -> IPCacheEntry | None:
        """What the kernel's ipcache answers for an address: its longest prefix."""
        raw = self._ipcache.lookup(ipcache_map.pack_key(ip))
        if raw is None:
            return None
        value = ipcache_map.unpack_value(raw)
        return IPCacheEntry(value.identity, value.tunnel, value.encrypt_key)

    def held_deny(self, key: PolicyKey) -> bool | None:
        """Whether the kernel's entry is a deny; None where it has none."""
        raw = self._policy.lookup(pack_policy_key(key))
        return None if raw is None else policy_map.unpack_value(raw)

    def held_endpoint(self, ip: str) -> endpoint_map.Endpoint | None:
        raw = self._endpoints.lookup(endpoint_map.pack_key(ip))
        return None if raw is None else endpoint_map.unpack_value(raw)

    def recovered_nodes(self) -> dict[str, int]:
        held = self._nodes.dump().items()
        return {node_map.unpack_key(key): node_map.unpack_value(raw) for key, raw in held}

    def recovered_policy(self) -> dict[PolicyKey, bool]:
        found: dict[PolicyKey, bool] = {}
        for raw_key, raw in self._policy.dump().items():
            found[unpack_policy_key(raw_key)] = policy_map.unpack_value(raw)
        return found


def pack_ipcache(entry: IPCacheEntry, flags: int = 0) -> bytes:
    return ipcache_map.pack_value(entry.identity, entry.tunnel, entry.encrypt_key, flags)


def pack_ipcaches(
    prefixes: Sequence[str], entries: Sequence[IPCacheEntry], flags: int = 0
) -> Iterable[tuple[bytes, bytes]]:
    return zip(ipcache_map.pack_keys(prefixes), ipcache_map.pack_values(entries, flags), strict=True)


def pack_policy_key(key: PolicyKey) -> bytes:
    direction = policy_map.Direction.EGRESS if key.egress else policy_map.Direction.INGRESS
    return policy_map.pack_key(key.endpoint, key.identity, key.port, key.protocol, direction, key.open_bits)


def unpack_policy_key(raw: bytes) -> PolicyKey:
    key = policy_map.unpack_key(raw)
    egress = key.direction is policy_map.Direction.EGRESS
    return PolicyKey(key.endpoint_id, key.identity, key.port, key.protocol, egress, key.open_bits)


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
