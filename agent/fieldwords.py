"""Entries of maps that have no words of their own, by the names that their C structs give to fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpf import address
from bpf.layout import Layout
from bpf.spec import MapSpec

_ADDRESSES = (address.V4_BYTES, address.V6_BYTES)
_BIG_ENDIAN = 2  # bytes: ports and reverse NAT ids
_IDS = 1024  # bytes: a part of a Maglev table, backends' ids of four bytes each


def entries(spec: MapSpec, held: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "key": _text(key := _fields(spec.key, raw_key)),
            "value": _text(value := _fields(spec.value, raw)),
            "key-fields": key,
            "value-fields": value,
        }
        for raw_key, raw in sorted(held.items())
    ]


def _fields(layout: Layout, raw: bytes) -> dict[str, int | str]:
    named = zip(layout.offsets, layout.unpack(raw), strict=True)
    return {name: _said(name, value) for name, value in named if not name.startswith(("pad", "reserved"))}


def _said(name: str, value: int | bytes) -> int | str:
    if isinstance(value, int):
        return value
    if len(value) == _BIG_ENDIAN or name == "id":
        return int.from_bytes(value, "big")
    if len(value) in _ADDRESSES:
        return address.text(value)
    if len(value) == _IDS:
        return ",".join(str(int.from_bytes(value[at : at + 4], "little")) for at in range(0, _IDS, 4))
    return value.hex()


def _text(fields: Mapping[str, int | str]) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items())
