"""The loaded data path of one node: its maps, and where its programs are attached.

Promises: opening changes nothing; attaching is idempotent, so a restarted agent calls
it again for everything that should be attached; whatever is attached stays attached when
the process ends. Attaching to a device acts in this thread's network namespace.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bpf import address, ct_map, link, loader
from bpf.maglev_tables import Maglev
from bpf.pinned_map import PinnedMap
from bpf.pins import Pins
from bpf.programspec import OVERLAY_PROGRAMS, POD_PROGRAMS, PROGRAMS, SOCKET_PROGRAMS, UNDERLAY_PROGRAMS
from bpf.ring import Ring
from bpf.services import ServiceMaps
from bpf.spec import (
    CT4,
    CT6,
    ENDPOINTS,
    EVENT_CONFIG,
    EVENTS,
    IPCACHE,
    LB4_AFFINITY,
    LB4_BACKENDS,
    LB4_REVERSE_NAT,
    LB4_SERVICES,
    LB4_SOURCE_RANGE,
    LB6_AFFINITY,
    LB6_BACKENDS,
    LB6_REVERSE_NAT,
    LB6_SERVICES,
    LB6_SOURCE_RANGE,
    LB_AFFINITY_MATCH,
    MAGLEV6_SLOTS,
    MAGLEV6_TABLES,
    MAGLEV_SLOTS,
    MAGLEV_TABLES,
    METRICS,
    NODES,
    POLICY,
    SNAT4,
    SNAT6,
    MapSpec,
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A program on a hook; `target` is an ifindex or a cgroup id, 0 once that has gone."""

    program: str
    target: int


class Datapath:
    """`close` it, or use it in a `with` block. What is attached stays attached."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        with ExitStack() as opened:

            def enter(spec: MapSpec) -> PinnedMap:
                return opened.enter_context(PinnedMap.open(pins.map(spec), spec))

            self.ipcache = enter(IPCACHE)
            self.endpoints = enter(ENDPOINTS)
            self.policy = enter(POLICY)
            self.connections = enter(CT4)
            self.connections6 = enter(CT6)
            self.translations = enter(SNAT4)
            self.translations6 = enter(SNAT6)
            self.metrics = enter(METRICS)
            self.nodes = enter(NODES)
            self.event_config = enter(EVENT_CONFIG)
            self.events = opened.enter_context(Ring.open(pins.map(EVENTS), EVENTS))
            self.services = ServiceMaps(
                enter(LB4_SERVICES),
                enter(LB4_BACKENDS),
                enter(LB4_REVERSE_NAT),
                enter(LB_AFFINITY_MATCH),
                enter(LB4_AFFINITY),
                enter(LB6_SERVICES),
                enter(LB6_BACKENDS),
                enter(LB6_REVERSE_NAT),
                enter(LB6_AFFINITY),
                Maglev(enter(MAGLEV_TABLES), enter(MAGLEV_SLOTS)),
                enter(LB4_SOURCE_RANGE),
                Maglev(enter(MAGLEV6_TABLES), enter(MAGLEV6_SLOTS)),
                enter(LB6_SOURCE_RANGE),
            )
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def attach_overlay(self, ifindex: int) -> None:
        for program in OVERLAY_PROGRAMS:
            link.attach(self._pins, program, link.device(ifindex))

    def attach_underlay(self, *devices: int) -> None:
        """Serve node ports to clients that come by these devices, and by no other any more."""
        for program in UNDERLAY_PROGRAMS:
            for ifindex in devices:
                link.attach(self._pins, program, link.device(ifindex))
            for pin in self._pins.links_of(program):
                if (name := pin.name.rpartition("-")[2]) not in map(str, devices):
                    link.detach(self._pins, program, name)

    def attach_pod(self, ifindex: int) -> None:
        """`ifindex`: the host's side of the pod's veth."""
        for program in POD_PROGRAMS:
            link.attach(self._pins, program, link.device(ifindex))

    def detach_pod(self, ifindex: int) -> None:
        for program in POD_PROGRAMS:
            link.detach(self._pins, program, str(ifindex))

    def attach_cgroup(self, path: Path) -> None:
        """Translate services for the sockets of every process below this cgroup."""
        with link.cgroup(path) as target:
            for program in SOCKET_PROGRAMS:
                link.attach(self._pins, program, target)

    def forget_connections(self, ip: str) -> int:
        """For an address that changes its owner: what the old one had opened must not admit
        packets to the new one. How many connections there were."""
        packed = address.pack(ip)
        table = self.connections if len(packed) == address.V4_BYTES else self.connections6
        old = [key for key in table.dump() if ct_map.concerns(key, packed)]
        table.delete(old)
        return len(old)

    def entries(self, spec: MapSpec) -> dict[bytes, bytes]:
        """Of any map, as it is now; opened for this one look."""
        with PinnedMap.open(self._pins.map(spec), spec) as held:
            return held.dump()

    def attachments(self) -> list[Attachment]:
        return [
            Attachment(program.name, link.read(pin).target)
            for program in PROGRAMS
            for pin in self._pins.links_of(program)
        ]

    def detach_stale(self) -> None:
        """Drop the pins of links whose device or cgroup has gone."""
        for program in PROGRAMS:
            for pin in self._pins.links_of(program):
                if not link.read(pin).target:
                    pin.unlink()

    def unload(self) -> None:
        """Detach everything and forget all state."""
        self.close()
        loader.unload(self._pins.root)


def open(root: Path) -> Datapath:
    """NotLoadedError if `loader.load` has not been here."""
    return Datapath(Pins(Path(os.fspath(root))))
