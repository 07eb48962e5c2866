"""Events: what the programs tell of single packets, through the real ring."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import event_map, ipcache_map
from bpf.datapath import Datapath
from bpf.endpoint_map import Endpoint
from bpf.errors import NotLoadedError
from bpf.event_map import Event
from bpf.pins import Pins
from bpf.programspec import FROM_CONTAINER, TO_CONTAINER
from bpf.ring import Ring
from bpf.spec import EVENTS
from tests.bpf.test_programs import (
    HOST_MAC,
    PEER,
    PEER_IDENTITY,
    POD,
    POD_IDENTITY,
    POD_MAC,
    STRANGER,
    put_endpoint,
)
from tests.bpf.testrun import ICMP, LOOPBACK, PASS, SHOT, UDP, Packet, run
from tests.bpf.testrun6 import DESTINATION, ICMPV6, Packet6, options

pytestmark = pytest.mark.root


def configure(node: Datapath, *, drops: bool = False, trace_every: int = 0) -> None:
    value = event_map.pack_config(drops=drops, trace_every=trace_every)
    node.event_config.update([(event_map.KEY, value)])


@pytest.fixture
def pod(node: Datapath) -> Iterator[Datapath]:
    put_endpoint(node, POD, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, ingress_enforced=True))
    node.ipcache.update([(ipcache_map.pack_key(PEER), ipcache_map.pack_value(PEER_IDENTITY, None))])
    taken(node)
    yield node
    configure(node)
    taken(node)


def taken(node: Datapath) -> list[Event]:
    events: list[Event] = []
    while records := node.events.drain(1000):
        events += map(event_map.unpack, records)
    return events


def test_nobody_watches_and_nothing_is_written(pod: Datapath, loaded_root: Path) -> None:
    configure(pod)
    assert run(Pins(loaded_root).program(TO_CONTAINER), Packet(PEER, POD).frame())[0] == SHOT
    assert taken(pod) == []


def test_a_drop_is_told_with_its_reason_and_who_it_was(pod: Datapath, loaded_root: Path) -> None:
    configure(pod, drops=True)
    to_pod, from_pod = Pins(loaded_root).program(TO_CONTAINER), Pins(loaded_root).program(FROM_CONTAINER)
    assert run(to_pod, Packet(PEER, POD).frame())[0] == SHOT
    assert run(from_pod, Packet(POD, PEER).frame())[0] == PASS  # forwarded: not asked for
    assert run(from_pod, Packet(STRANGER, PEER, UDP).frame())[0] == SHOT
    denied, spoofed = taken(pod)
    assert denied.time > 0
    assert (denied.kind, denied.reason, denied.direction) == ("drop", "policy denied", "ingress")
    assert (denied.endpoint_id, denied.peer) == (7, PEER_IDENTITY)
    assert (denied.source, denied.source_port) == (PEER, 40_000)
    assert (denied.destination, denied.destination_port) == (POD, 80)
    assert (denied.protocol, denied.tcp_flags) == ("TCP", "SYN")
    assert (spoofed.reason, spoofed.direction, spoofed.endpoint_id) == ("invalid source ip", "egress", 0)
    assert (spoofed.source, spoofed.protocol, spoofed.tcp_flags) == (STRANGER, "UDP", "")


def test_the_other_family_s_records_are_longer_and_read_alike(pod: Datapath, loaded_root: Path) -> None:
    here, there = "fd00:1::10", "fd00:2::10"
    put_endpoint(pod, here, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, ingress_enforced=True))
    configure(pod, drops=True, trace_every=1)
    to_pod, from_pod = Pins(loaded_root).program(TO_CONTAINER), Pins(loaded_root).program(FROM_CONTAINER)
    assert run(to_pod, Packet6(there, here).within(options(DESTINATION)).frame())[0] == SHOT
    assert run(from_pod, Packet6(here, there, ICMPV6).frame())[0] == PASS
    assert run(from_pod, Packet6("::", "ff02::2", ICMPV6, icmp_type=133).frame())[0] == SHOT  # not told
    assert run(to_pod, Packet(PEER, POD).frame())[0] == SHOT
    denied, forwarded, old = taken(pod)
    assert (denied.kind, denied.reason, denied.direction) == ("drop", "policy denied", "ingress")
    assert (denied.endpoint_id, denied.peer, denied.protocol, denied.tcp_flags) == (7, 2, "TCP", "SYN")
    assert (denied.source, denied.source_port) == (there, 40_000)
    assert (denied.destination, denied.destination_port) == (here, 80)
    assert (forwarded.kind, forwarded.protocol, forwarded.source_port) == ("trace", "ICMPv6", 128)
    assert (old.source, old.destination) == (PEER, POD)


def test_forwarded_packets_are_sampled(pod: Datapath, loaded_root: Path) -> None:
    from_pod = Pins(loaded_root).program(FROM_CONTAINER)
    configure(pod, trace_every=1)
    assert run(from_pod, Packet(POD, STRANGER, ICMP).frame())[0] == PASS
    (seen,) = taken(pod)
    assert (seen.kind, seen.reason, seen.direction) == ("trace", "forwarded", "egress")
    assert (seen.endpoint_id, seen.peer, seen.protocol, seen.source_port) == (7, 2, "ICMP", 8)
    configure(pod, trace_every=4)
    for _ in range(400):
        run(from_pod, Packet(POD, STRANGER).frame())
    assert 20 < len(taken(pod)) < 200


def test_a_full_ring_loses_the_newest_and_goes_on_after_it_was_read(pod: Datapath, loaded_root: Path) -> None:
    from_pod = Pins(loaded_root).program(FROM_CONTAINER)
    configure(pod, trace_every=1)
    room = EVENTS.max_entries // 48  # an event and its header
    for _ in range(room + 100):
        assert run(from_pod, Packet(POD, STRANGER).frame())[0] == PASS
    assert room - 1 <= len(taken(pod)) <= room
    run(from_pod, Packet(POD, STRANGER, UDP).frame())
    assert [event.protocol for event in taken(pod)] == ["UDP"]


def test_a_ring_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotLoadedError, match="no ring"):
        Ring.open(tmp_path / "nothing", EVENTS)
