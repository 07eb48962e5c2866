"""Kernel maps in words, for people: what `bpf ... list` shows. Reads the maps, not our tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent import connectionwords, fieldwords, servicewords
from bpf import endpoint_map, ipcache_map, metrics_map, node_map, policy_map
from bpf.address import Family
from bpf.datapath import Datapath as LoadedDatapath
from bpf.spec import MAPS, MapSpec, MapType

Dump = Callable[[], list[dict[str, Any]]]
Words = Callable[[Mapping[bytes, bytes]], list[dict[str, Any]]]

_HAVE_ENTRIES = frozenset({MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.LPM_TRIE})


def words(name: str, backends: Mapping[bytes, bytes]) -> Words:
    """How entries of one map are told; `backends` are the backends map's, which service entries name."""
    known: dict[str, Words] = {
        "cilium_ipcache_v2": _ipcache,
        "cilium_lxc": _endpoints,
        "cilium_node_map_v2": _nodes,
        "cilium_policy": _policy,
        "cilium_lb4_services_v2": lambda entries: servicewords.services(entries, backends),
        "cilium_lb4_backends_v3": servicewords.backends,
        "cilium_lb4_reverse_nat": servicewords.reverse_nat,
        "cilium_lb4_source_range": lambda entries: servicewords.ranges(entries, {}),
        "cilium_lb6_services_v2": lambda entries: servicewords.services(entries, backends),
        "cilium_lb6_backends_v3": servicewords.backends,
        "cilium_lb6_reverse_nat": servicewords.reverse_nat,
        "cilium_lb6_source_range": lambda entries: servicewords.ranges(entries, {}),
        "cilium_lb_affinity_match": servicewords.matches,
    }
    return known.get(name, _bytes)


def dumps(loaded: LoadedDatapath) -> Mapping[str, Dump]:
    """Map name -> its entries; of every map that has some. Blocking: call in a thread."""
    return _by_fields(loaded) | in_words(loaded)


def _by_fields(loaded: LoadedDatapath) -> dict[str, Dump]:
    def dump(spec: MapSpec) -> Dump:
        return lambda: fieldwords.entries(spec, loaded.entries(spec))

    return {spec.name: dump(spec) for spec in MAPS if spec.type in _HAVE_ENTRIES}


def in_words(loaded: LoadedDatapath) -> dict[str, Dump]:
    """Of those maps whose entries mean something to people."""
    lb = loaded.services
    return {
        "cilium_metrics": lambda: _metrics(loaded.metrics.dump()),
        "cilium_ipcache_v2": lambda: _ipcache(loaded.ipcache.dump()),
        "cilium_lxc": lambda: _endpoints(loaded.endpoints.dump()),
        "cilium_node_map_v2": lambda: _nodes(loaded.nodes.dump()),
        "cilium_ct4_global": lambda: connectionwords.connections(loaded.connections.dump()),
        "cilium_snat_v4_external": lambda: connectionwords.translations(loaded.translations.dump()),
        "cilium_policy": lambda: _policy(loaded.policy.dump()),
        "cilium_lb4_services_v2": lambda: servicewords.services(lb.services.dump(), lb.backends.dump()),
        "cilium_lb4_backends_v3": lambda: servicewords.backends(lb.backends.dump()),
        "cilium_lb4_reverse_nat": lambda: servicewords.reverse_nat(lb.reverse_nat.dump()),
        "cilium_lb4_source_range": lambda: servicewords.ranges(lb.ranges.dump(), lb.reverse_nat.dump()),
        "cilium_lb4_affinity": lambda: servicewords.affinity(lb.affinity.dump(), lb.dump()),
        "cilium_ct6_global": lambda: connectionwords.connections(loaded.connections6.dump()),
        "cilium_snat_v6_external": lambda: connectionwords.translations(loaded.translations6.dump()),
        "cilium_lb6_services_v2": lambda: servicewords.services(lb.services6.dump(), lb.backends6.dump()),
        "cilium_lb6_backends_v3": lambda: servicewords.backends(lb.backends6.dump()),
        "cilium_lb6_reverse_nat": lambda: servicewords.reverse_nat(lb.reverse_nat6.dump()),
        "cilium_lb6_source_range": lambda: servicewords.ranges(lb.ranges6.dump(), lb.reverse_nat6.dump()),
        "cilium_lb6_affinity": lambda: servicewords.affinity(lb.affinity6.dump(), lb.dump(Family.IPV6)),
        "cilium_lb_affinity_match": lambda: servicewords.matches(lb.matches.dump()),
    }


def _bytes(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    """For a map that has no words."""
    return [{"key": key.hex(), "value": value.hex()} for key, value in sorted(entries.items())]


def _ipcache(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        key, value = ipcache_map.unpack_key(raw_key), ipcache_map.unpack_value(raw)
        words = [word for flag, word in ipcache_map.FLAG_WORDS.items() if value.flags & flag]
        prefix = f"{key.prefix_text}@{key.cluster_id}" if key.cluster_id else key.prefix_text
        found.append(
            {
                "key": prefix,
                "value": (
                    f"identity={value.identity} encryptkey={value.encrypt_key} "
                    f"tunnelendpoint={value.tunnel or '0.0.0.0'} flags={','.join(words) or '<none>'}"
                ),
                "identity": value.identity,
                "tunnel-endpoint": value.tunnel or "",
                "encrypt-key": value.encrypt_key,
            }
        )
    return found


def _endpoints(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        value = endpoint_map.unpack_value(raw)
        found.append(
            {
                "key": endpoint_map.unpack_key(raw_key),
                "value": (
                    f"id={value.endpoint_id} sec_id={value.identity} ifindex={value.ifindex} "
                    f"mac={value.mac} nodemac={value.node_mac}"
                ),
                "id": value.endpoint_id,
                "identity": value.identity,
                "ifindex": value.ifindex,
                "mac": value.mac,
                "node-mac": value.node_mac,
                "ingress-enforced": value.ingress_enforced,
                "egress-enforced": value.egress_enforced,
            }
        )
    return found


def _metrics(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "key": f"{each.reason} {each.direction}",
            "value": f"packets={each.packets} bytes={each.bytes}",
            "number": each.number,
            "reason": each.reason,
            "direction": each.direction,
            "packets": each.packets,
            "bytes": each.bytes,
        }
        for each in metrics_map.read(entries)
    ]


def _nodes(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = [(node_map.unpack_value(raw), node_map.unpack_key(raw_key)) for raw_key, raw in entries.items()]
    return [{"key": ip, "value": f"id={number}", "id": number, "spi": 0} for number, ip in sorted(found)]


def _policy(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        key, deny = policy_map.unpack_key(raw_key), policy_map.unpack_value(raw)
        verdict = "Deny" if deny else "Allow"
        direction = key.direction.name.capitalize()
        found.append(
            {
                "key": f"{key.endpoint_id} {direction} {key.identity} {_ports(key)}/{key.protocol}",
                "value": verdict,
                "endpoint": key.endpoint_id,
                "direction": direction,
                "identity": key.identity,
                "port": key.port,
                "last-port": key.port + (1 << key.open_bits) - 1,
                "protocol": key.protocol,
                "deny": deny,
            }
        )
    return found


def _ports(key: policy_map.PolicyKey) -> str:
    return f"{key.port}-{key.port + (1 << key.open_bits) - 1}" if key.open_bits else str(key.port)
