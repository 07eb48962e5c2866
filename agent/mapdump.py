"""Kernel maps in words, for people: what `bpf ... list` shows. Reads the maps, not our tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bpf import endpoint_map, ipcache_map, lb_map, policy_map
from bpf.datapath import Datapath as LoadedDatapath

Dump = Callable[[], list[dict[str, Any]]]


def dumps(loaded: LoadedDatapath) -> Mapping[str, Dump]:
    """Map name -> its entries. Blocking: call in a thread."""
    services = loaded.services
    return {
        "cilium_ipcache_v2": lambda: _ipcache(loaded.ipcache.dump()),
        "cilium_lxc": lambda: _endpoints(loaded.endpoints.dump()),
        "cilium_policy": lambda: _policy(loaded.policy.dump()),
        "cilium_lb4_services_v2": lambda: _services(services.services.dump(), services.backends.dump()),
        "cilium_lb4_backends_v3": lambda: _backends(services.backends.dump()),
        "cilium_lb4_reverse_nat": lambda: _reverse_nat(services.reverse_nat.dump()),
    }


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
                "flags": words,
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
        said = f"{backend.ip}:{backend.port}/{backend.protocol}" if backend else "0.0.0.0:0"
        scope = f"/{key.scope}" if key.scope else ""
        if key.slot and value.group:
            said = f"group {value.group}"
        found.append(
            {
                "key": f"{key.ip}:{key.port}/{key.protocol}{scope} ({key.slot})",
                "value": f"{said} ({value.rev_nat}) ({key.slot})",
                "frontend": f"{key.ip}:{key.port}/{key.protocol}",
                "scope": key.scope,
                "slot": key.slot,
                "group": value.group,
                "backend": said if backend else "",
                "backend-id": value.backend_id,
                "cluster-id": backend.cluster_id if backend else 0,
                "count": value.count,
                "rev-nat": value.rev_nat,
            }
        )
    return sorted(found, key=lambda entry: (entry["frontend"], entry["scope"], entry["slot"]))


def _backends(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in entries.items():
        value = lb_map.unpack_backend(raw)
        number = lb_map.unpack_backend_id(raw_key)
        text = f"{value.ip}:{value.port}/{value.protocol}"
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
        found.append({"key": str(number), "value": f"{ip}:{port}", "id": number, "frontend": f"{ip}:{port}"})
    return sorted(found, key=lambda entry: entry["id"])
