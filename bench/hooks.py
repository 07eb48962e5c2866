"""`bench hooks`: what the programs cost by themselves, without traffic.

Every packet that comes to a node by its underlay device passes `cil_from_netdev`, also where it is for no
service. The floor is a program that does nothing, run the same way: what is left is parsing and looking up.
And how much of the verifier's million instructions each program takes, which is no time but runs out too.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bench import testrun
from bench.bpffs import mounted
from bench.figure import Figure, figure
from bpf import datapath, loader, syscall
from bpf.lb_map import FLAG_NODE_PORT
from bpf.lb_wanted import Master
from bpf.pins import Pins
from bpf.programspec import FROM_NETDEV, PROGRAMS, ProgramSpec
from mesh.localservice import Frontend
from mesh.matching import Backend

NODE, CLIENT = "198.18.1.11", "198.51.100.9"
SERVICES = 1_000  # in the map, so that a look-up finds its bucket as full as elsewhere
REPEAT = 500_000
TCP, UDP = 6, 17
SSH, VXLAN = 22, 8472
ETHERNET = bytes(12) + b"\x08\x00"


async def measure(folder: Path, *, runs: int) -> list[Figure]:
    with mounted(folder / "bpf") as root:
        place = root / "bench"
        await asyncio.to_thread(loader.load, place, loader.NodeOptions(NODE, 1))
        try:
            _fill(place)
            return await asyncio.to_thread(_passing, Pins(place), runs) + _verified(Pins(place))
        finally:
            loader.unload(place)


def _fill(place: Path) -> None:
    backend = [Backend("10.1.1.10", 8080, "TCP", 1)]
    services = {Frontend(NODE, 30_000 + number, "TCP"): backend for number in range(SERVICES)}
    with datapath.open(place) as opened:
        opened.services.sync(services, masters=dict.fromkeys(services, Master(flags=FLAG_NODE_PORT)))


def _passing(pins: Pins, runs: int) -> list[Figure]:
    """TCP beyond a connection's first packet asks one map more: its connection may be a service's."""
    packets = {
        "TCP": packet(TCP, SSH, struct.pack("!IIBBHHH", 1, 1, 0x50, 0x10, 512, 0, 0)),
        "UDP": packet(UDP, VXLAN, struct.pack("!HH", 8, 0)),
    }
    with _opened(pins, FROM_NETDEV) as program, testrun.nothing() as floor:
        found = []
        for name, each in packets.items():
            once = testrun.run(program, each)  # of several, verdict and packet are the last one's
            if once.verdict or once.left != each:
                raise RuntimeError(f"{FROM_NETDEV.name} does not let {name} pass as it is: {once.verdict}")
            ours, least = list[float](), list[float]()
            for _ in range(runs):
                ours.append(testrun.run(program, each, REPEAT).nanoseconds)
                least.append(testrun.run(floor, each, REPEAT).nanoseconds)
            found.append(figure(f"{FROM_NETDEV.name}: {name} for no service", ours, "ns", floors=least))
    return found


def packet(protocol: int, port: int, rest: bytes) -> bytes:
    """From a client to the node; `rest` is what follows the ports."""
    body = struct.pack("!HH", 40_000, port) + rest
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0)
    return ETHERNET + head + IPv4Address(CLIENT).packed + IPv4Address(NODE).packed + body


def _verified(pins: Pins) -> list[Figure]:
    found = []
    for spec in PROGRAMS:
        with _opened(pins, spec) as program:
            followed = syscall.program_info(program).verified
        found.append(figure(f"{spec.name}: seen by the verifier", [followed], "instructions"))
    return found


@contextmanager
def _opened(pins: Pins, spec: ProgramSpec) -> Iterator[int]:
    program = syscall.obj_get(pins.program(spec))
    try:
        yield program
    finally:
        os.close(program)
