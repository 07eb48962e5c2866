"""The recorded data, as pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden" / "cilium-1.20"
FILES = ("handmade.json", "mock-ipv4.json", "mock-dualstack-wireguard.json")
REFUSED = "Cilium's own decoder rejects this: "


@dataclass(frozen=True)
class Recorded:
    key: str
    value: bytes
    refusal: str

    def __str__(self) -> str:
        return self.key


def read(name: str) -> list[Recorded]:
    return [
        Recorded(
            entry["key"],
            entry["value"].encode(),
            entry.get("note", "").partition(REFUSED)[2].rstrip("]"),
        )
        for entry in json.loads((FOLDER / name).read_bytes())
    ]


def everything() -> list[Recorded]:
    return [entry for name in FILES for entry in read(name)]


def values(part: str) -> list[tuple[str, bytes]]:
    """Suffix and bytes of the accepted state entries below `cilium/state/<part>`."""
    prefix = f"cilium/state/{part}"
    return [
        (entry.key.removeprefix(prefix), entry.value)
        for entry in read("handmade.json")
        if entry.key.startswith(prefix) and not entry.refusal
    ]
