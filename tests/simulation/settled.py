"""Whether a reader has arrived: everything that a cluster says is in its kernel, and its status says so."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from agent.ipcache import IPCacheEntry
from agent.peerstate import PeerState
from mesh.keys import Kind
from tests.simulation.reader import FRONTEND, LOCAL, Reader
from tests.simulation.source import KINDS, LAYOUT, ClusterSource

Said = Mapping[str, Any]  # a RemoteCluster of the agent's API


def unsettled(reader: Reader, source: ClusterSource, said: Said | None) -> str:
    """What is still missing; empty when nothing is. `said` is what the agent says of the cluster."""
    if said is None:
        return "the peer is not known yet"
    if not said.get("ready"):
        return f"not ready: {said['status']}, synced {said['synced']}, programmed {said['programmed']}"
    if said["config"].get("cluster-id") != source.id:
        return f"still under id {said['config'].get('cluster-id')}"
    return _state(reader.state(source.name), source, said) or _kernel(reader, source)


def _state(state: PeerState, source: ClusterSource, said: Said) -> str:
    covered = {kind for kind, key in source.bad if (kind, key) in source.good}
    for kind in KINDS:
        wanted, held = source.said(kind), state.held(kind)
        bad = {key for of, key in source.bad if of is kind}  # the previous value, if we ever had one
        right = {key for key, value in wanted.items() if held.holds(key, value)}
        if differing := sorted((set(held) | wanted.keys()) - right - bad):
            return f"{kind.name}: {differing[:3]} differ"
        if kind not in covered and said["digests"][kind.name.lower()] != digest(source, kind):
            return f"{kind.name}: digest {said['digests'][kind.name.lower()]} is not of what is said"
    if source.bad and not said["refusals"]:
        return "bad values were not counted"
    bad_now = {kind.name.lower() for kind, _ in source.bad}
    told = {reason.partition(": ")[0] for reason in said["refused-now"] if not reason.endswith("(kept)")}
    if told != bad_now:
        return f"refused now are said {sorted(told)}, not {sorted(bad_now)}"
    return ""


def _kernel(reader: Reader, source: ClusterSource) -> str:
    wanted = expected(source)
    masked = {f"{key.decode()}/32" for kind, key in source.bad if kind is Kind.IPS}
    if any(kind is Kind.NODES for kind, _ in source.bad):
        masked |= {prefix for prefix, entry in wanted.items() if entry.identity == 6}
    found = {p: e for p, e in reader.kernel.entries().items() if source.owns(p)}
    for prefix in sorted((found.keys() | wanted.keys()) - masked):
        if found.get(prefix) != wanted.get(prefix) and not _may_be_kept(reader, source, prefix):
            return f"{prefix} is {found.get(prefix)}, not {wanted.get(prefix)}"
    backends = {address for address in reader.kernel.served if source.owns(f"{address}/32")}
    is_restored = bool(
        reader.agent and reader.agent.tables and reader.agent.tables.recovered_sizes()["clusters"]
    )
    is_right = backends >= source.backends() if is_restored else backends == source.backends()
    if not any(kind is Kind.SERVICES for kind, _ in source.bad) and not is_right:
        return f"{FRONTEND} is served by {sorted(backends)}, not {sorted(source.backends())}"
    return ""


def _may_be_kept(reader: Reader, source: ClusterSource, prefix: str) -> bool:
    """An entry from before a restart stays while somebody who may own it (under any id) has not spoken."""
    if prefix in expected(source) or reader.agent is None or reader.agent.tables is None:
        return False
    identity = reader.kernel.entries()[prefix].identity
    has_restored = reader.agent.tables.recovered_sizes()["prefixes"] > 0
    return has_restored and not LAYOUT.contains(source.id, identity)


def foreign(reader: Reader, sources: list[ClusterSource]) -> str:
    """Entries that belong to none of these clusters nor to us, or ours that are not as they should be."""
    found = reader.kernel.entries()
    for prefix, (_, entry) in LOCAL.items():
        if found.pop(prefix, None) != entry:
            return f"our own {prefix} is missing or wrong"
    extra = sorted(prefix for prefix in found if not any(source.owns(prefix) for source in sources))
    return f"{extra} belong to nobody" if extra else ""


def expected(source: ClusterSource) -> dict[str, IPCacheEntry]:
    wanted = {
        f"{source.ip(index)}/32": IPCacheEntry(int(source.identity(label)), source.node_ip(host))
        for index, (label, host) in source.ips.items()
    }
    for index in range(2):
        wanted[f"{source.node_ip(index)}/32"] = IPCacheEntry(6, None)
        wanted[f"10.{source.number}.{1 + index}.1/32"] = IPCacheEntry(6, source.node_ip(index))
    assert all(LAYOUT.contains(source.id, e.identity) for e in wanted.values() if e.identity >= 256)
    return wanted


def digest(source: ClusterSource, kind: Kind) -> str:
    """As the agent documents it, computed from what is said: an exclusive or of 64-bit hashes."""
    total = 0
    for key, value in source.said(kind).items():
        total ^= int.from_bytes(blake2b(key + b"\0" + value, digest_size=8).digest())
    return f"{total:016x}"
