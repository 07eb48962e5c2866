"""What a node still has of an agent that has gone, and in which order it goes. Pure.

The order keeps two promises. A pod is never open: its device goes before the program that stands in its
way. And a run that was cut off is finished by the next one: what things are told by (pins, endpoints on
disk) goes after what is told by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

VXLAN, HOST, NET = "cilium_vxlan", "cilium_host", "cilium_net"


class Kind(Enum):
    POD_DEVICE = "pod-device"
    HOOK = "hook"
    PROGRAM = "program"
    ROUTE = "route"
    DEVICE = "device"
    MAP = "map"
    FILE = "file"


BPF_STATE = frozenset({Kind.HOOK, Kind.PROGRAM, Kind.MAP})


@dataclass(frozen=True, slots=True)
class Item:
    """One thing. `name`: of a device, a pin's or file's path, a route's CIDR. `index`: of a device.
    `about`: what kind of route, or of which pod."""

    kind: Kind
    name: str
    index: int = 0
    about: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """`is_ours`: it should go, but must not as things are."""

    kind: Kind
    name: str
    reason: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """`is_marked`: it says that we made it. `is_shared`: it has programs or filters that are not ours."""

    name: str
    index: int
    kind: str
    is_marked: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: (name, index) -> pod of the interfaces that the agent served, as its file says. `hooked`:
    indices of devices with a pod's program of ours. `routes`: CIDR and type of each with our protocol number.
    """

    devices: tuple[Device, ...] = ()
    pods: Mapping[tuple[str, int], str] = field(default_factory=dict)
    hooked: frozenset[int] = frozenset()
    hooks: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()
    maps: tuple[Path, ...] = ()
    foreign_pins: tuple[Path, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`remove` in its order."""

    remove: tuple[Item, ...] = ()
    keep: tuple[Kept, ...] = ()


def plan(seen: Seen, kinds: Collection[Kind] = tuple(Kind)) -> Plan:
    pods = [device for device in seen.devices if _is_pods(device, seen)]
    own = [device for device in seen.devices if device.name in (VXLAN, HOST, NET)]
    items = [
        *(_pod_item(device, seen) for device in pods),  # whoever watches pods knows that they end
        *_pins(Kind.HOOK, seen.hooks),
        *_pins(Kind.PROGRAM, seen.programs),
        *(Item(Kind.ROUTE, cidr, about=about) for cidr, about in seen.routes),
        *(Item(Kind.DEVICE, each.name, each.index) for each in own if each.is_marked and not each.is_shared),
        *_pins(Kind.MAP, seen.maps),
        *_pins(Kind.FILE, seen.files),
    ]
    kept = [
        *(
            Kept(Kind.DEVICE, each.name, "programs that are not ours are attached to it", is_ours=True)
            for each in own
            if each.is_marked and each.is_shared
        ),
        *(
            Kept(Kind.DEVICE, each.name, "it does not say that we made it (Cilium's have the same names)")
            for each in own
            if not each.is_marked
        ),
        *(Kept(Kind.MAP, str(pin), "not ours") for pin in seen.foreign_pins),
    ]
    return Plan(
        tuple(item for item in items if item.kind in kinds),
        tuple(each for each in kept if each.kind in kinds),
    )


def _is_pods(device: Device, seen: Seen) -> bool:
    """Only a cable that the agent was told of: a plugin made it for a pod, and it is of no use without us."""
    known = (device.name, device.index) in seen.pods or device.index in seen.hooked
    return device.kind == "veth" and known


def _pod_item(device: Device, seen: Seen) -> Item:
    return Item(Kind.POD_DEVICE, device.name, device.index, seen.pods.get((device.name, device.index), ""))


def _pins(kind: Kind, paths: Iterable[Path]) -> list[Item]:
    return [Item(kind, str(path)) for path in paths]
