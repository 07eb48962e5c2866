"""Kernel maps in words, for people: what `bpf ... list` shows. Reads the maps, not our tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bpf import (
    affinity_map,
    ct_map,
    endpoint_map,
    ipcache_map,
    lb_map,
    nat_map,
    node_map,
    policy_map,
    source_range_map,
)
from bpf.address import Family
from bpf.datapath import Datapath as LoadedDatapath
from bpf.lb_steps import Dumps

Dump = Callable[[], list[dict[str, Any]]]
Words = Callable[[Mapping[bytes, bytes]], list[dict[str, Any]]]

_FLAGS = {  # of a master entry, in Cilium's words (spec 6.1)
    1 << 1: "NodePort",
    1 << 3: "HostPort",
    1 << 0: "ExternalIPs",
    1 << 5: "LoadBalancer",
    1 << 8: "LocalRedirect",
    1 << 2: "Local",
    1 << 12: "InternalLocal",
    1 << 4: "sessionAffinity",
    1 << 7: "check source-range",
    1 << 14: "deny",  # of those ranges
    1 << 9: "46x64",
    1 << 10: "l7-load-balancer",
    1 << 11: "delegate-if-local",
    1 << 13: "two-scopes",
    1 << 15: "dsr",
}
_KINDS = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 8  # without one of these it is a ClusterIP
_ROUTABLE = 1 << 6


def words(name: str, backends: Mapping[bytes, bytes]) -> Words:
    """How entries of one map are told; `backends` are the backends map's, which service entries name."""
    known: dict[str, Words] = {
        "cilium_ipcache_v2": _ipcache,
        "cilium_lxc": _endpoints,
        "cilium_node_map_v2": _nodes,
        "cilium_policy": _policy,
        "cilium_lb4_services_v2": lambda entries: _services(entries, backends),
        "cilium_lb4_backends_v3": _backends,
        "cilium_lb4_reverse_nat": _reverse_nat,
        "cilium_lb4_source_range": lambda entries: _ranges(entries, {}),
        "cilium_lb6_services_v2": lambda entries: _services(entries, backends),
        "cilium_lb6_backends_v3": _backends,
        "cilium_lb6_reverse_nat": _reverse_nat,
        "cilium_lb_affinity_match": _matches,
    }
    return known.get(name, _bytes)


def dumps(loaded: LoadedDatapath) -> Mapping[str, Dump]:
    """Map name -> its entries. Blocking: call in a thread."""
    services = loaded.services
    return {
        "cilium_ipcache_v2": lambda: _ipcache(loaded.ipcache.dump()),
        "cilium_lxc": lambda: _endpoints(loaded.endpoints.dump()),
        "cilium_node_map_v2": lambda: _nodes(loaded.nodes.dump()),
        "cilium_ct4_global": lambda: _connections(loaded.connections.dump()),
        "cilium_snat_v4_external": lambda: _translations(loaded.translations.dump()),
        "cilium_policy": lambda: _policy(loaded.policy.dump()),
        "cilium_lb4_services_v2": lambda: _services(services.services.dump(), services.backends.dump()),
        "cilium_lb4_backends_v3": lambda: _backends(services.backends.dump()),
        "cilium_lb4_reverse_nat": lambda: _reverse_nat(services.reverse_nat.dump()),
        "cilium_lb4_source_range": lambda: _ranges(services.ranges.dump(), services.reverse_nat.dump()),
        "cilium_lb4_affinity": lambda: _affinity(services.affinity.dump(), services.dump()),
        "cilium_ct6_global": lambda: _connections(loaded.connections6.dump()),
        "cilium_lb6_services_v2": lambda: _services(services.services6.dump(), services.backends6.dump()),
        "cilium_lb6_backends_v3": lambda: _backends(services.backends6.dump()),
        "cilium_lb6_reverse_nat": lambda: _reverse_nat(services.reverse_nat6.dump()),
        "cilium_lb6_affinity": lambda: _affinity(services.affinity6.dump(), services.dump(Family.IPV6)),
        "cilium_lb_affinity_match": lambda: _matches(services.matches.dump()),
    }


def _at(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


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


def _nodes(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = [(node_map.unpack_value(raw), node_map.unpack_key(raw_key)) for raw_key, raw in entries.items()]
    return [{"key": ip, "value": f"id={number}", "id": number, "spi": 0} for number, ip in sorted(found)]


def _connections(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        key, value = ct_map.unpack_key(raw_key), ct_map.unpack_value(raw)
        source = _at(key.source, key.source_port)
        destination = _at(key.destination, key.destination_port)
        protocol = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}.get(key.protocol, str(key.protocol))
        way = ("SVC " if key.service else "") + ("IN" if key.inbound else "OUT")
        closing = " closing" if value.closing else ""
        found.append(
            {
                "key": f"{protocol} {way} {source} -> {destination}",
                "value": (
                    f"expires={value.lifetime} Packets={value.packets} Bytes={value.bytes} "
                    f"SourceSecurityID={value.source_identity}{closing}"
                ),
                "protocol": protocol,
                "inbound": key.inbound,
                "service": key.service,
                "source": source,
                "destination": destination,
                "packets": value.packets,
                "bytes": value.bytes,
                "expires": value.lifetime,
                "source-identity": value.source_identity,
                "closing": value.closing,
            }
        )
    return found


def _translations(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        each = nat_map.unpack(raw_key, raw)
        protocol = lb_map.PROTOCOL_NAMES.get(each.protocol, str(each.protocol))
        way, change = ("IN", "DST") if each.back else ("OUT", "SRC")
        ends = f"{each.source}:{each.source_port} -> {each.destination}:{each.destination_port}"
        found.append(
            {
                "key": f"{protocol} {way} {ends}",
                "value": f"XLATE_{change} {each.ip}:{each.port}",
                "protocol": protocol,
                "back": each.back,
                "address": f"{each.ip}:{each.port}",
            }
        )
    return found


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


def _services(entries: Mapping[bytes, bytes], backends: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    values = {lb_map.unpack_backend_id(key): lb_map.unpack_backend(raw) for key, raw in backends.items()}
    found = []
    for raw_key, raw in entries.items():
        key, value = lb_map.unpack_service(raw_key), lb_map.unpack_service_value(raw)
        backend = values.get(value.backend_id) if key.slot else None
        nowhere = "[::]:0" if ":" in key.ip else "0.0.0.0:0"
        said = f"{_at(backend.ip, backend.port)}/{backend.protocol}" if backend else nowhere
        scope = f"/{key.scope}" if key.scope else ""
        if key.slot and value.group:
            said = f"group {value.group}"
        flags = "" if key.slot else f" [{', '.join(_flag_words(value.flags))}]"
        found.append(
            {
                "key": f"{_at(key.ip, key.port)}/{key.protocol}{scope} ({key.slot})",
                "value": f"{said} ({value.rev_nat}) ({key.slot}){flags}",
                "frontend": f"{_at(key.ip, key.port)}/{key.protocol}",
                "scope": key.scope,
                "slot": key.slot,
                "group": value.group,
                "backend": said if backend else "",
                "backend-id": value.backend_id if key.slot else 0,
                "cluster-id": backend.cluster_id if backend else 0,
                "count": value.count,
                "flags": [] if key.slot else _flag_words(value.flags),
                "rev-nat": value.rev_nat,
                "affinity-timeout-seconds": value.sticky,
                "algorithm": "" if key.slot else _algorithm(raw),
            }
        )
    return sorted(found, key=lambda entry: (entry["frontend"], entry["scope"], entry["slot"]))


def _ranges(entries: Mapping[bytes, bytes], frontends: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for each in sorted(
        map(source_range_map.unpack_key, entries), key=lambda each: (each.rev_nat, each.network)
    ):
        raw = frontends.get(lb_map.pack_rev_nat_id(each.rev_nat))
        where = _at(*lb_map.unpack_rev_nat(raw)) if raw else ""
        found.append({"key": f"{each.network} ({each.rev_nat})", "value": where, "rev-nat": each.rev_nat})
    return found


def _algorithm(master: bytes) -> str:
    """Empty where the service leaves it to the node."""
    number = lb_map.algorithm_of(lb_map.master_flags(master))
    return {0: "", 1: "random", 2: "maglev"}.get(number, str(number))


def _flag_words(flags: int) -> list[str]:
    found = [] if flags & _KINDS else ["ClusterIP"]
    found += [word for bit, word in _FLAGS.items() if flags & bit]
    return found if flags & _ROUTABLE else [*found, "non-routable"]


def _backends(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in entries.items():
        value = lb_map.unpack_backend(raw)
        number = lb_map.unpack_backend_id(raw_key)
        text = f"{_at(value.ip, value.port)}/{value.protocol}"
        found.append(
            {
                "key": str(number),
                "value": text,
                "id": number,
                "address": text,
                "cluster-id": value.cluster_id,
                "state": value.state,
            }
        )
    return sorted(found, key=lambda entry: entry["id"])


def _reverse_nat(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in entries.items():
        ip, port = lb_map.unpack_rev_nat(raw)
        number = lb_map.unpack_rev_nat_id(raw_key)
        at = _at(ip, port)
        found.append({"key": str(number), "value": at, "id": number, "frontend": at})
    return sorted(found, key=lambda entry: entry["id"])


def _affinity(clients: Mapping[bytes, bytes], dumps: Dumps) -> list[dict[str, Any]]:
    """Also those whose time is over: they go when they are looked at."""
    frontends = {lb_map.unpack_rev_nat_id(k): lb_map.unpack_rev_nat(v) for k, v in dumps.reverse_nat.items()}
    backends = {lb_map.unpack_backend_id(k): lb_map.unpack_backend(v) for k, v in dumps.backends.items()}
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    found = []
    for key, value in clients.items():
        client = affinity_map.unpack_client(key, value)
        ip, port = frontends.get(client.rev_nat, ("", 0))
        backend = backends.get(client.backend_id)
        found.append(
            {
                "key": f"{client.address or f'netns {client.cookie}'} ({client.rev_nat})",
                "value": f"{_at(backend.ip, backend.port)}/{backend.protocol}" if backend else "gone",
                "netns-cookie": client.cookie,
                "address": client.address,
                "rev-nat": client.rev_nat,
                "frontend": _at(ip, port) if ip else "",
                "backend-id": client.backend_id,
                "seconds-ago": max(0, int(now) - client.last_used),
            }
        )
    return sorted(found, key=lambda entry: (entry["rev-nat"], entry["netns-cookie"], entry["address"]))


def _matches(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for backend_id, rev_nat in sorted(map(affinity_map.unpack_match, entries)):
        found.append(
            {
                "key": f"{backend_id} ({rev_nat})",
                "value": "",
                "backend-id": backend_id,
                "rev-nat": rev_nat,
            }
        )
    return found
