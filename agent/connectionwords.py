"""The maps of connections and of translations in words, for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpf import ct_map, lb_map, nat_map
from mesh.ip import with_port


def connections(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        key, value = ct_map.unpack_key(raw_key), ct_map.unpack_value(raw)
        source = with_port(key.source, key.source_port)
        destination = with_port(key.destination, key.destination_port)
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


def translations(entries: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for raw_key, raw in sorted(entries.items()):
        each = nat_map.unpack(raw_key, raw)
        protocol = lb_map.PROTOCOL_NAMES.get(each.protocol, str(each.protocol))
        way, change = ("IN", "DST") if each.back else ("OUT", "SRC")
        source = with_port(each.source, each.source_port)
        destination = with_port(each.destination, each.destination_port)
        given = with_port(each.ip, each.port)
        found.append(
            {
                "key": f"{protocol} {way} {source} -> {destination}",
                "value": f"XLATE_{change} {given}",
                "protocol": protocol,
                "back": each.back,
                "address": given,
            }
        )
    return found
