"""The service maps in words, for people. Pure but for the clock that session affinity counts by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bpf import affinity_map, lb_map, source_range_map
from bpf.lb_steps import Dumps
from mesh.ip import with_port

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


def services(entries: Mapping[bytes, bytes], backends: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    values = {lb_map.unpack_backend_id(key): lb_map.unpack_backend(raw) for key, raw in backends.items()}
    found = []
    for raw_key, raw in entries.items():
        key, value = lb_map.unpack_service(raw_key), lb_map.unpack_service_value(raw)
        backend = values.get(value.backend_id) if key.slot else None
        nowhere = "[::]:0" if ":" in key.ip else "0.0.0.0:0"
        said = f"{with_port(backend.ip, backend.port)}/{backend.protocol}" if backend else nowhere
        scope = f"/{key.scope}" if key.scope else ""
        if key.slot and value.group:
            said = f"group {value.group}"
        flags = "" if key.slot else f" [{', '.join(_flag_words(value.flags))}]"
        found.append(
            {
                "key": f"{with_port(key.ip, key.port)}/{key.protocol}{scope} ({key.slot})",
                "value": f"{said} ({value.rev_nat}) ({key.slot}){flags}",
                "frontend": f"{with_port(key.ip, key.port)}/{key.protocol}",
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


def ranges(entries: Mapping[bytes, bytes], frontends: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for each in sorted(
        map(source_range_map.unpack_key, entries), key=lambda each: (each.rev_nat, each.network)
    ):
        raw = frontends.get(lb_map.pack_rev_nat_id(each.rev_nat))
        where = with_port(*lb_map.unpack_rev_nat(raw)) if raw else ""
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


def backends(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in entries.items():
        value = lb_map.unpack_backend(raw)
        number = lb_map.unpack_backend_id(raw_key)
        text = f"{with_port(value.ip, value.port)}/{value.protocol}"
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


def reverse_nat(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in entries.items():
        ip, port = lb_map.unpack_rev_nat(raw)
        number = lb_map.unpack_rev_nat_id(raw_key)
        at = with_port(ip, port)
        found.append({"key": str(number), "value": at, "id": number, "frontend": at})
    return sorted(found, key=lambda entry: entry["id"])


def affinity(clients: Mapping[bytes, bytes], dumps: Dumps) -> list[dict[str, Any]]:
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
                "value": f"{with_port(backend.ip, backend.port)}/{backend.protocol}" if backend else "gone",
                "netns-cookie": client.cookie,
                "address": client.address,
                "rev-nat": client.rev_nat,
                "frontend": with_port(ip, port) if ip else "",
                "backend-id": client.backend_id,
                "seconds-ago": max(0, int(now) - client.last_used),
            }
        )
    return sorted(found, key=lambda entry: (entry["rev-nat"], entry["netns-cookie"], entry["address"]))


def matches(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
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
