"""The tc programs on packets of IPv6, one by one."""

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf import ct_map, endpoint_map, ipcache_map, metrics_map, policy_map
from bpf.datapath import Datapath
from bpf.endpoint_map import Endpoint
from bpf.pins import Pins
from bpf.policy_map import Direction
from bpf.programspec import FROM_CONTAINER, FROM_OVERLAY, TO_CONTAINER
from tests.bpf.testrun import LOOPBACK, PASS, REDIRECT, SHOT, run
from tests.bpf.testrun6 import (
    ACK,
    DESTINATION,
    HOP_BY_HOP,
    ICMPV6,
    ROUTING,
    SCTP,
    TCP,
    UDP,
    Packet6,
    fragment,
    options,
)

pytestmark = pytest.mark.root

POD, NEIGHBOUR, PEER, STRANGER = "fd00:1::10", "fd00:1::11", "fd00:2::10", "2001:db8::9"
GATEWAY, LINK_LOCAL = "fe80::1", "fe80::ff:fe00:10"
POD_MAC, HOST_MAC = "02:00:00:00:00:10", "02:00:00:00:00:01"
POD_IDENTITY, PEER_IDENTITY, WORLD = 65_601, 131_073, 2
ECHO_REQUEST = policy_map.ICMP_TYPES + 128
SOLICITATION, ADVERTISEMENT = 135, 136

Ask = Callable[[Packet6], int]


@pytest.fixture
def pod(node: Datapath) -> Datapath:
    """A node with one enforced pod, on the loopback device, and a peer that is routed natively."""
    put_endpoint(node, POD, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, ingress_enforced=True))
    node.ipcache.update([(ipcache_map.pack_key(PEER), ipcache_map.pack_value(PEER_IDENTITY, None))])
    return node


def put_endpoint(node: Datapath, address: str, endpoint: Endpoint) -> None:
    node.endpoints.update([(endpoint_map.pack_key(address), endpoint_map.pack_value(endpoint))])


@pytest.fixture
def to_pod(loaded_root: Path) -> Ask:
    return lambda packet: run(Pins(loaded_root).program(TO_CONTAINER), packet.frame())[0]


@pytest.fixture
def from_pod(loaded_root: Path) -> Ask:
    return lambda packet: run(Pins(loaded_root).program(FROM_CONTAINER), packet.frame())[0]


def allow(node: Datapath, identity: int, port: int = 0, protocol: int = 0) -> None:
    node.policy.update([(policy_map.pack_key(7, identity, port, protocol), policy_map.pack_value())])


def drops(node: Datapath) -> list[tuple[str, str]]:
    return [(m.direction, m.reason) for m in metrics_map.read(node.metrics.dump()) if m.is_drop]


KINDS = st.sampled_from([(TCP, 80), (TCP, 443), (UDP, 80), (SCTP, 80), (ICMPV6, ECHO_REQUEST)])
ENTRIES = st.dictionaries(
    st.tuples(
        st.sampled_from([0, PEER_IDENTITY, WORLD]), KINDS | st.sampled_from([(0, 0), (TCP, 0), (ICMPV6, 0)])
    ),
    st.booleans(),
    max_size=5,
)
CHAINS = st.lists(
    st.builds(options, st.sampled_from([HOP_BY_HOP, ROUTING, DESTINATION]), st.integers(0, 3)), max_size=5
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(ENTRIES, KINDS, st.sampled_from([PEER, STRANGER]), CHAINS, st.sampled_from(Direction))
def test_policy_is_what_the_model_says_whatever_headers_come_before(  # noqa: PLR0917
    pod: Datapath,
    to_pod: Ask,
    from_pod: Ask,
    entries: dict[tuple[int, tuple[int, int]], bool],
    kind: tuple[int, int],
    other: str,
    chain: list[tuple[int, bytes]],
    direction: Direction,
) -> None:
    put_endpoint(pod, POD, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, True, True))
    for table in (pod.connections6, pod.policy):
        table.delete(table.dump())
    pod.policy.update(
        (policy_map.pack_key(7, identity, port, protocol, direction), policy_map.pack_value(deny=deny))
        for (identity, (protocol, port)), deny in entries.items()
    )
    identity = PEER_IDENTITY if other == PEER else WORLD
    verdicts = {
        deny
        for (whose, (protocol, port)), deny in entries.items()
        if whose in {0, identity} and protocol in {0, kind[0]} and port in {0, kind[1]}
    }
    ends = (other, POD) if direction is Direction.INGRESS else (POD, other)
    question = Packet6(*ends, kind[0], port=kind[1] & 0xFF if kind[0] == ICMPV6 else kind[1])
    send, answer = (to_pod, from_pod) if direction is Direction.INGRESS else (from_pod, to_pod)
    assert send(question.within(*chain)) == (PASS if verdicts == {False} else SHOT)
    if verdicts == {False}:
        assert answer(question.reply().within(*chain)) == PASS


@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP, ICMPV6])
def test_only_the_answer_to_a_question_comes_back(
    pod: Datapath, to_pod: Ask, from_pod: Ask, protocol: int
) -> None:
    question = Packet6(POD, PEER, protocol)
    assert to_pod(question.reply()) == SHOT
    assert from_pod(question) == PASS
    assert to_pod(question.reply()) == PASS
    other = Packet6(POD, PEER, protocol, port=81) if protocol != ICMPV6 else Packet6(POD, STRANGER, ICMPV6)
    assert to_pod(other.reply()) == SHOT


def test_a_packet_in_mid_stream_opens_nothing(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    late = Packet6(POD, PEER, tcp_flags=ACK)
    assert from_pod(late) == PASS
    assert to_pod(late.reply(ACK)) == SHOT


def test_an_echo_that_is_numbered_nought_opens_the_way_to_its_answer_only(
    pod: Datapath, to_pod: Ask, from_pod: Ask
) -> None:
    question = Packet6(POD, PEER, ICMPV6, identifier=0)
    assert from_pod(question) == PASS
    for kind in (1, 128, 200):
        assert to_pod(replace(question.reply(), identifier=0, icmp_type=kind)) == SHOT
    assert to_pod(replace(question.reply(), identifier=0)) == PASS


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("protocol", [TCP, UDP, ICMPV6])
def test_an_error_passes_if_it_is_about_what_we_sent(
    pod: Datapath, to_pod: Ask, from_pod: Ask, protocol: int, kind: int
) -> None:
    """From whatever router on the way, as a packet that is too big is told of."""
    sent = Packet6(POD, PEER, protocol).within(options(DESTINATION))
    assert to_pod(sent.about(kind, STRANGER)) == SHOT
    assert from_pod(sent) == PASS
    assert to_pod(sent.about(kind, STRANGER)) == PASS
    assert to_pod(replace(sent, port=81, source_port=1).about(kind, STRANGER)) == (
        PASS if protocol == ICMPV6 else SHOT
    )
    assert to_pod(sent.about(kind, STRANGER, whole=False)) == SHOT  # its ports are missing
    about_another = Packet6(NEIGHBOUR, PEER, protocol)
    assert to_pod(replace(about_another.about(kind, STRANGER), destination=POD)) == SHOT
    put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK, 7, 65_602, POD_MAC, HOST_MAC, ingress_enforced=True))
    assert to_pod(replace(sent.about(kind, STRANGER), destination=NEIGHBOUR)) == SHOT


def test_an_error_is_policy_s_too(pod: Datapath, to_pod: Ask) -> None:
    allow(pod, identity=WORLD, port=policy_map.ICMP_TYPES + 2, protocol=ICMPV6)
    assert to_pod(Packet6(POD, PEER).about(2, STRANGER)) == PASS
    assert to_pod(Packet6(POD, PEER).about(1, STRANGER)) == SHOT


def test_a_later_fragment_follows_its_first(pod: Datapath, to_pod: Ask) -> None:
    allow(pod, identity=PEER_IDENTITY, port=80, protocol=UDP)
    packet = Packet6(PEER, POD, UDP)
    for before in ((), (options(HOP_BY_HOP),), (options(HOP_BY_HOP), options(ROUTING, 2))):
        identifier = len(before) + 1
        later = packet.within(*before, fragment(2, more=False, identifier=identifier))
        assert to_pod(later) == SHOT
        assert to_pod(packet.within(*before, fragment(0, more=True, identifier=identifier))) == PASS
        assert to_pod(later) == PASS
    assert to_pod(packet.within(fragment(2, more=False, identifier=9))) == SHOT
    assert to_pod(replace(packet, port=81).within(fragment(0, more=True))) == SHOT
    assert drops(pod) == [("ingress", "policy denied"), ("ingress", "first fragment not found")]


def test_a_fragment_that_is_a_whole_datagram_needs_no_other(pod: Datapath, to_pod: Ask) -> None:
    allow(pod, identity=PEER_IDENTITY, port=80, protocol=UDP)
    assert to_pod(Packet6(PEER, POD, UDP).within(fragment(0, more=False))) == PASS
    assert to_pod(Packet6(PEER, POD, UDP, port=81).within(fragment(0, more=False))) == SHOT


def test_what_is_not_understood_is_dropped_and_counted(pod: Datapath, to_pod: Ask, loaded_root: Path) -> None:
    program = Pins(loaded_root).program(TO_CONTAINER)
    allow(pod, 0)
    assert to_pod(Packet6(PEER, POD).within(*[options(DESTINATION)] * 5)) == PASS
    assert to_pod(Packet6(PEER, POD).within(*[options(DESTINATION)] * 6)) == SHOT
    assert run(program, Packet6(PEER, POD).frame()[:60])[0] == SHOT
    assert run(program, Packet6(PEER, POD).within(options(ROUTING)).frame()[:55])[0] == SHOT
    assert to_pod(Packet6(PEER, POD, protocol=47)) == SHOT
    assert to_pod(Packet6(PEER, POD, protocol=59)) == SHOT
    assert to_pod(Packet6(PEER, NEIGHBOUR)) == SHOT
    assert drops(pod) == [
        ("ingress", "invalid packet"),
        ("ingress", "unknown L4 protocol"),
        ("ingress", "no matching local endpoint"),
        ("ingress", "invalid IPv6 extension header"),
    ]


def test_a_pod_sends_only_from_its_own_device_and_with_an_identity(pod: Datapath, from_pod: Ask) -> None:
    for source in (NEIGHBOUR, LINK_LOCAL, "::", "::ffff:10.1.1.10"):
        assert from_pod(Packet6(source, PEER)) == SHOT
    put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK + 1, 8, 65_602, POD_MAC, HOST_MAC))
    assert from_pod(Packet6(NEIGHBOUR, PEER)) == SHOT
    for identity in (0, 1, 1 << 24):
        put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK, 8, identity, POD_MAC, HOST_MAC))
        assert from_pod(Packet6(NEIGHBOUR, PEER)) == SHOT
    assert drops(pod) == [("egress", "invalid source ip"), ("egress", "invalid identity")]


def test_a_pod_s_packet_goes_to_the_tunnel_to_a_neighbour_or_to_the_stack(
    pod: Datapath, from_pod: Ask
) -> None:
    put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK, 8, 65_602, POD_MAC, HOST_MAC))
    assert from_pod(Packet6(POD, STRANGER)) == PASS
    assert from_pod(Packet6(POD, NEIGHBOUR)) == REDIRECT
    tunnelled = ipcache_map.pack_key("fd00:2:1::/64")
    pod.ipcache.update([(tunnelled, ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12"))])
    assert from_pod(Packet6(POD, "fd00:2:1::3")) == REDIRECT
    skip = ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12", flags=ipcache_map.FLAG_SKIP_TUNNEL)
    pod.ipcache.update([(tunnelled, skip)])
    assert from_pod(Packet6(POD, "fd00:2:1::3")) == PASS
    assert drops(pod) == []
    pod.ipcache.update([(tunnelled, ipcache_map.pack_value(PEER_IDENTITY, "fd00:198::12"))])
    assert from_pod(Packet6(POD, "fd00:2:1::3")) == SHOT
    assert drops(pod) == [("egress", "no tunnel")]


def test_the_node_itself_needs_no_policy_and_an_impostor_of_a_tunnelled_pod_does_not_pass(
    pod: Datapath, to_pod: Ask
) -> None:
    pod.ipcache.update([(ipcache_map.pack_key("fd00:198::11"), ipcache_map.pack_value(1, None))])
    assert to_pod(Packet6("fd00:198::11", POD)) == PASS
    assert to_pod(Packet6("fe80::99", POD)) == PASS  # nobody else's packet comes from there
    pod.ipcache.update([(ipcache_map.pack_key(PEER), ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12"))])
    allow(pod, identity=PEER_IDENTITY)
    assert to_pod(Packet6(PEER, POD)) == SHOT
    assert drops(pod) == [("ingress", "invalid source ip")]
    skip = ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12", flags=ipcache_map.FLAG_SKIP_TUNNEL)
    pod.ipcache.update([(ipcache_map.pack_key(PEER), skip)])
    assert to_pod(Packet6(PEER, POD)) == PASS  # native routing
    put_endpoint(pod, PEER, Endpoint(LOOPBACK + 1, 8, PEER_IDENTITY, POD_MAC, HOST_MAC))
    assert to_pod(Packet6(PEER, POD)) == SHOT  # a pod of ours, but not from its device


def neighbour(kind: int, source: str, target: str, to: str = "ff02::1:ff00:1", **more: int) -> Packet6:
    body = IPv6Address(target).packed + bytes.fromhex("0101" + POD_MAC.replace(":", ""))
    return replace(Packet6(source, to, ICMPV6, icmp_type=kind, body=body, hop_limit=255), **more)


def ones_sum(raw: bytes) -> int:
    total = sum(struct.unpack(f"!{len(raw) // 2}H", raw))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("target", [GATEWAY, NEIGHBOUR, PEER])
@pytest.mark.parametrize("cut", [0, 8])
def test_the_host_s_mac_answers_every_question_for_a_neighbour(
    pod: Datapath, loaded_root: Path, target: str, cut: int
) -> None:
    """Also one without the option that says who asks."""
    question = neighbour(SOLICITATION, POD, target)
    question = replace(question, body=question.body[: len(question.body) - cut])
    verdict, answer = run(Pins(loaded_root).program(FROM_CONTAINER), question.frame())
    assert verdict == REDIRECT
    assert answer[:6] == bytes.fromhex("0200000000bb")  # the question's sender
    assert answer[6:12] == bytes.fromhex(HOST_MAC.replace(":", ""))
    length, following, hops = struct.unpack("!HBB", answer[18:22])
    assert (length, following, hops) == (32, ICMPV6, 255)
    assert answer[22:54] == IPv6Address(target).packed + IPv6Address(POD).packed
    message = answer[54:]
    assert (len(message), message[0], message[1], message[4]) == (32, ADVERTISEMENT, 0, 0xE0)
    assert message[8:24] == IPv6Address(target).packed
    assert message[24:] == b"\x02\x01" + answer[6:12]
    assert ones_sum(answer[22:54] + struct.pack("!II", length, ICMPV6) + message) == 0xFFFF
    assert drops(pod) == []


@pytest.mark.parametrize(
    "packet",
    [
        neighbour(SOLICITATION, "::", POD),  # is the address free?
        neighbour(SOLICITATION, POD, POD),
        neighbour(SOLICITATION, LINK_LOCAL, GATEWAY),
        neighbour(ADVERTISEMENT, POD, GATEWAY.replace("fe80", "fd00")),
        Packet6("::", "ff02::2", ICMPV6, icmp_type=133, hop_limit=255),
        Packet6(LINK_LOCAL, "ff02::1", ICMPV6, icmp_type=134, hop_limit=255),
        Packet6(POD, "fe80::1", ICMPV6, icmp_type=134, hop_limit=255),
        Packet6(POD, NEIGHBOUR, ICMPV6, icmp_type=137, hop_limit=255),
        Packet6(LINK_LOCAL, "ff02::16", ICMPV6, icmp_type=143, hop_limit=1).within(options(HOP_BY_HOP)),
        Packet6(LINK_LOCAL, "ff02::fb", UDP, port=5353),
    ],
    ids=[
        *("free?", "own", "from the link", "not its own", "router?", "router!", "router to one", "redirect"),
        *("report", "mdns"),
    ],
)
def test_talk_of_the_link_goes_nowhere_and_is_no_drop(pod: Datapath, from_pod: Ask, packet: Packet6) -> None:
    put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK, 8, 65_602, POD_MAC, HOST_MAC))
    assert from_pod(packet) == SHOT
    assert metrics_map.read(pod.metrics.dump()) == []


def test_a_pod_tells_the_stack_of_its_own_addresses_only(pod: Datapath, from_pod: Ask, to_pod: Ask) -> None:
    assert from_pod(neighbour(ADVERTISEMENT, POD, POD, to="fe80::2")) == PASS
    assert from_pod(neighbour(ADVERTISEMENT, LINK_LOCAL, LINK_LOCAL, to="fe80::2")) == PASS
    assert from_pod(neighbour(ADVERTISEMENT, POD, PEER, to="fe80::2")) == SHOT
    assert to_pod(neighbour(SOLICITATION, "fe80::2", POD)) == PASS
    assert to_pod(neighbour(SOLICITATION, "fe80::2", POD, hop_limit=254)) == SHOT
    assert drops(pod) == []


def test_a_question_of_a_stranger_or_through_a_router_is_dropped(pod: Datapath, from_pod: Ask) -> None:
    assert from_pod(neighbour(SOLICITATION, NEIGHBOUR, GATEWAY)) == SHOT
    assert drops(pod) == [("egress", "invalid source ip")]
    assert from_pod(neighbour(SOLICITATION, POD, GATEWAY, hop_limit=254)) == SHOT
    assert drops(pod)[1:] == [("egress", "invalid packet")]


def test_connections_are_booked_under_their_tuple(pod: Datapath, from_pod: Ask) -> None:
    assert from_pod(Packet6(POD, PEER, UDP).within(options(HOP_BY_HOP))) == PASS
    ((key, raw),) = pod.connections6.dump().items()
    wanted = ct_map.ConnectionKey(POD, 40_000, PEER, 80, UDP, inbound=False)
    assert ct_map.unpack_key(key) == wanted
    assert ct_map.unpack_value(raw).source_identity == POD_IDENTITY
    assert not pod.connections.dump()


def test_a_packet_without_tunnel_metadata_is_no_overlay_packet(pod: Datapath, loaded_root: Path) -> None:
    assert run(Pins(loaded_root).program(FROM_OVERLAY), Packet6(PEER, POD).frame())[0] == SHOT
    assert drops(pod) == [("ingress", "no tunnel key")]
