"""The tc programs packet by packet; the policy look-up against a model in Python."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf import ct_map, endpoint_map, ipcache_map, metrics_map, policy_map
from bpf.datapath import Datapath
from bpf.endpoint_map import Endpoint
from bpf.layout import CT_VALUE
from bpf.pins import Pins
from bpf.policy_map import Direction, PolicyKey
from bpf.programspec import FROM_CONTAINER, FROM_OVERLAY, TO_CONTAINER
from tests.bpf.testrun import (
    ACK,
    FIN,
    ICMP,
    LOOPBACK,
    PASS,
    REDIRECT,
    SCTP,
    SHOT,
    TCP,
    UDP,
    Packet,
    arp,
    ethernet,
    run,
)

pytestmark = pytest.mark.root

POD, NEIGHBOUR, PEER, STRANGER, NODE = "10.1.1.10", "10.1.1.11", "10.2.1.10", "203.0.113.9", "198.18.1.11"
POD_MAC, HOST_MAC = "02:00:00:00:00:10", "02:00:00:00:00:01"
POD_IDENTITY, PEER_IDENTITY, WORLD = 65_601, 131_073, 2

Ask = Callable[[Packet], int]


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


ECHO_REQUEST = policy_map.ICMP_TYPES + 8

# ports and protocols of entries and packets come from the same few, so that they meet
IDENTITIES = st.sampled_from([0, PEER_IDENTITY, WORLD])
DIRECTIONS = st.sampled_from(Direction)
ENTRY_KEYS = (
    st.builds(
        PolicyKey,
        st.sampled_from([7, 8]),
        IDENTITIES,
        st.sampled_from([0, 80, 443, ECHO_REQUEST, ECHO_REQUEST + 1]),
        st.sampled_from([TCP, UDP, ICMP, SCTP]),
        DIRECTIONS,
    )
    | st.builds(
        lambda identity, bits, port, protocol, direction: PolicyKey(
            7, identity, port >> bits << bits, protocol, direction, bits
        ),
        IDENTITIES,
        st.sampled_from([4, 8, 12]),
        st.sampled_from([80, 443, 0x9050, ECHO_REQUEST]),
        st.sampled_from([TCP, UDP, ICMP]),
        DIRECTIONS,
    )
    | st.builds(PolicyKey, st.just(7), IDENTITIES, direction=DIRECTIONS)
)
ENTRIES = st.dictionaries(ENTRY_KEYS, st.booleans(), max_size=8)
PACKETS = st.builds(
    Packet,
    st.sampled_from([PEER, STRANGER]),
    st.just(POD),
    st.sampled_from([TCP, UDP, ICMP, SCTP]),
    port=st.sampled_from([80, 443, 9, 0x9050, 0x9FFF]),
)


def admits(entries: dict[PolicyKey, bool], packet: Packet, direction: Direction, *, ranges: bool) -> bool:
    """The rule in one sentence: something allows it, and nothing denies it."""
    identity = PEER_IDENTITY if PEER in (packet.source, packet.destination) else WORLD
    port = ECHO_REQUEST if packet.protocol == ICMP else packet.port
    verdicts = {
        deny
        for key, deny in entries.items()
        if key.endpoint_id == 7
        and key.direction is direction
        and key.identity in {0, identity}
        and key.protocol in {0, packet.protocol}
        and ((not key.port and not key.open_bits) or key.port == port >> key.open_bits << key.open_bits)
        and (ranges or not key.open_bits)
    }
    return verdicts == {False}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=400)
@given(ENTRIES, PACKETS, DIRECTIONS, st.booleans())
def test_policy_is_what_the_model_says(  # noqa: PLR0917
    pod: Datapath,
    to_pod: Ask,
    from_pod: Ask,
    entries: dict[PolicyKey, bool],
    packet: Packet,
    direction: Direction,
    ranges: bool,
) -> None:
    put_endpoint(pod, POD, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, True, True, ranges))
    pod.connections.delete(pod.connections.dump())
    pod.policy.delete(pod.policy.dump())
    pod.policy.update(
        (
            policy_map.pack_key(
                key.endpoint_id, key.identity, key.port, key.protocol, key.direction, key.open_bits
            ),
            policy_map.pack_value(deny=deny),
        )
        for key, deny in entries.items()
    )
    if direction is Direction.EGRESS:
        packet = replace(packet, source=POD, destination=packet.source)
    send, answer = (to_pod, from_pod) if direction is Direction.INGRESS else (from_pod, to_pod)
    passes = admits(entries, packet, direction, ranges=ranges)
    assert send(packet) == (PASS if passes else SHOT)
    if passes:  # whatever the other direction's entries say
        assert answer(packet.reply()) == PASS


@pytest.mark.parametrize("enforced", list(Direction))
def test_answers_pass_whichever_direction_is_enforced(
    pod: Datapath, to_pod: Ask, from_pod: Ask, enforced: Direction
) -> None:
    ingress = enforced is Direction.INGRESS
    put_endpoint(pod, POD, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, ingress, not ingress))
    asks, answers = (from_pod, to_pod) if ingress else (to_pod, from_pod)
    ours = Packet(POD, PEER) if ingress else Packet(PEER, POD)
    assert asks(ours) == PASS  # the open direction
    assert answers(ours.reply()) == PASS
    assert answers(Packet(ours.destination, ours.source, port=7777)) == SHOT  # the enforced one


def test_the_longest_prefix_around_an_address_is_who_it_is(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    put_endpoint(pod, POD, Endpoint(LOOPBACK, 7, POD_IDENTITY, POD_MAC, HOST_MAC, True, True))
    wide, narrow = (1 << 24) + 1, (1 << 24) + 2
    prefixes = (("203.0.113.0/24", wide), ("203.0.113.8/29", narrow))
    pod.ipcache.update((ipcache_map.pack_key(p), ipcache_map.pack_value(n, None)) for p, n in prefixes)
    key = policy_map.pack_key(7, wide, direction=Direction.EGRESS)
    pod.policy.update([(key, policy_map.pack_value())])
    allow(pod, identity=narrow)
    assert from_pod(Packet(POD, "203.0.113.200")) == PASS
    assert from_pod(Packet(POD, STRANGER)) == SHOT
    assert to_pod(Packet(STRANGER, POD)) == PASS
    assert to_pod(Packet("203.0.113.200", POD)) == SHOT


def test_sctp_is_judged_by_its_ports(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    allow(pod, identity=PEER_IDENTITY, port=80, protocol=SCTP)
    question = Packet(PEER, POD, SCTP)
    assert to_pod(question) == PASS
    assert from_pod(question.reply()) == PASS
    assert to_pod(Packet(PEER, POD, SCTP, port=81)) == SHOT


def test_an_icmp_type_is_not_another_and_zero_is_not_any(pod: Datapath, to_pod: Ask) -> None:
    allow(pod, identity=PEER_IDENTITY, port=policy_map.ICMP_TYPES, protocol=ICMP)  # echo replies
    assert to_pod(Packet(PEER, POD, ICMP)) == SHOT
    allow(pod, identity=PEER_IDENTITY, port=ECHO_REQUEST, protocol=ICMP)
    assert to_pod(Packet(PEER, POD, ICMP)) == PASS


@pytest.mark.parametrize("protocol", [TCP, UDP, ICMP])
def test_only_the_answer_to_a_question_comes_back(
    pod: Datapath, to_pod: Ask, from_pod: Ask, protocol: int
) -> None:
    question = Packet(POD, PEER, protocol)
    assert to_pod(question.reply()) == SHOT
    assert from_pod(question) == PASS
    assert to_pod(question.reply()) == PASS
    other = Packet(POD, PEER, protocol, port=81) if protocol != ICMP else Packet(POD, STRANGER, ICMP)
    assert to_pod(other.reply()) == SHOT


def test_an_echo_that_is_numbered_nought_opens_the_way_to_its_answer_only(
    pod: Datapath, to_pod: Ask, from_pod: Ask
) -> None:
    question = Packet(POD, PEER, ICMP, identifier=0)
    assert from_pod(question) == PASS
    for kind in (8, 13, 3):
        assert to_pod(replace(question.reply(), identifier=0, icmp_type=kind)) == SHOT
    assert to_pod(replace(question.reply(), identifier=0)) == PASS


def test_a_packet_in_mid_stream_opens_nothing(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    late = Packet(POD, PEER, tcp_flags=ACK)
    assert from_pod(late) == PASS
    assert to_pod(late.reply(ACK)) == SHOT


def test_an_answer_does_not_open_the_way_for_a_client_that_is_denied_later(
    pod: Datapath, to_pod: Ask, from_pod: Ask
) -> None:
    question = Packet(PEER, POD, UDP)
    allow(pod, identity=PEER_IDENTITY)
    assert to_pod(question) == PASS
    assert from_pod(question.reply()) == PASS
    pod.policy.delete(pod.policy.dump())
    assert to_pod(question) == SHOT


def test_a_closed_connection_can_be_opened_again(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    question = Packet(POD, PEER)
    for _ in range(2):
        assert from_pod(question) == PASS
        assert to_pod(question.reply()) == PASS
        assert from_pod(Packet(POD, PEER, tcp_flags=FIN | ACK)) == PASS
        assert to_pod(question.reply(FIN | ACK)) == PASS


def test_a_connection_that_has_expired_admits_nothing(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    question = Packet(POD, PEER, UDP)
    assert from_pod(question) == PASS
    ((key, raw),) = pod.connections.dump().items()
    at, size = CT_VALUE.offsets["lifetime"]
    pod.connections.update([(key, raw[:at] + bytes(size) + raw[at + size :])])
    assert to_pod(question.reply()) == SHOT
    assert from_pod(question) == PASS
    assert to_pod(question.reply()) == PASS


def test_a_connection_lives_as_long_as_its_state_deserves(pod: Datapath, to_pod: Ask, from_pod: Ask) -> None:
    question = Packet(POD, PEER)
    lifetimes = []
    for send, packet in (
        *((from_pod, question), (to_pod, question.reply()), (from_pod, Packet(POD, PEER, tcp_flags=ACK))),
        *((from_pod, Packet(POD, PEER, tcp_flags=FIN | ACK)), (to_pod, question.reply(FIN | ACK))),
        (from_pod, question),
    ):
        assert send(packet) == PASS
        (raw,) = pod.connections.dump().values()
        lifetimes.append(ct_map.unpack_value(raw).lifetime - int(time.monotonic()))
    wanted = [60, 60, 8000, 8000, 10, 60]
    assert all(abs(found - right) <= 2 for found, right in zip(lifetimes, wanted, strict=True)), lifetimes


def test_the_node_itself_needs_no_policy_and_an_impostor_of_a_tunnelled_pod_does_not_pass(
    pod: Datapath, to_pod: Ask
) -> None:
    assert to_pod(Packet(NODE, POD)) == PASS
    pod.ipcache.update([(ipcache_map.pack_key(PEER), ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12"))])
    allow(pod, identity=PEER_IDENTITY)
    assert to_pod(Packet(PEER, POD)) == SHOT
    assert drops(pod) == [("ingress", "invalid source ip")]


def test_options_in_the_ip_header_do_not_hide_the_port(pod: Datapath, to_pod: Ask) -> None:
    allow(pod, identity=PEER_IDENTITY, port=80, protocol=TCP)
    assert to_pod(Packet(PEER, POD, options=bytes([1] * 8))) == PASS
    assert to_pod(Packet(PEER, POD, port=81, options=bytes([1] * 8))) == SHOT


def test_a_later_fragment_follows_its_first(pod: Datapath, to_pod: Ask) -> None:
    allow(pod, identity=PEER_IDENTITY, port=80, protocol=UDP)
    later = Packet(PEER, POD, UDP, fragment=0x0010)
    assert to_pod(later) == SHOT
    assert to_pod(Packet(PEER, POD, UDP, fragment=0x2000)) == PASS
    assert to_pod(later) == PASS
    assert drops(pod) == [("ingress", "first fragment not found")]


def test_what_is_not_understood_is_dropped_and_counted(pod: Datapath, to_pod: Ask, loaded_root: Path) -> None:
    program = Pins(loaded_root).program(TO_CONTAINER)
    assert run(program, ethernet(0x88CC) + bytes(40))[0] == SHOT
    assert to_pod(Packet(PEER, POD, protocol=47)) == SHOT
    assert run(program, Packet(PEER, POD).frame()[:40])[0] == SHOT
    assert to_pod(Packet(PEER, NEIGHBOUR)) == SHOT
    assert drops(pod) == [
        ("ingress", "invalid packet"),
        ("ingress", "unknown L4 protocol"),
        ("ingress", "unsupported L3 protocol"),
        ("ingress", "no matching local endpoint"),
    ]


def test_a_pod_sends_only_from_its_own_device_and_with_an_identity(pod: Datapath, from_pod: Ask) -> None:
    assert from_pod(Packet(NEIGHBOUR, PEER)) == SHOT
    put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK + 1, 8, 65_602, POD_MAC, HOST_MAC))
    assert from_pod(Packet(NEIGHBOUR, PEER)) == SHOT
    for identity in (0, 1, 1 << 24):
        put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK, 8, identity, POD_MAC, HOST_MAC))
        assert from_pod(Packet(NEIGHBOUR, PEER)) == SHOT
    assert drops(pod) == [("egress", "invalid source ip"), ("egress", "invalid identity")]


def test_a_pod_s_packet_goes_to_the_tunnel_to_a_neighbour_or_to_the_stack(
    pod: Datapath, from_pod: Ask
) -> None:
    put_endpoint(pod, NEIGHBOUR, Endpoint(LOOPBACK, 8, 65_602, POD_MAC, HOST_MAC))
    assert from_pod(Packet(POD, STRANGER)) == PASS
    assert from_pod(Packet(POD, NEIGHBOUR)) == REDIRECT
    tunnelled = ipcache_map.pack_key("10.2.0.0/16")
    pod.ipcache.update([(tunnelled, ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12"))])
    assert from_pod(Packet(POD, "10.2.3.4")) == REDIRECT
    skip = ipcache_map.pack_value(PEER_IDENTITY, "198.18.1.12", flags=ipcache_map.FLAG_SKIP_TUNNEL)
    pod.ipcache.update([(tunnelled, skip)])
    assert from_pod(Packet(POD, "10.2.3.4")) == PASS
    assert drops(pod) == []


def test_a_packet_for_a_pod_of_ours_that_has_gone_does_not_circle(pod: Datapath, from_pod: Ask) -> None:
    pod.ipcache.update([(ipcache_map.pack_key("10.1.1.99"), ipcache_map.pack_value(65_700, NODE))])
    assert from_pod(Packet(POD, "10.1.1.99")) == SHOT
    assert drops(pod) == [("egress", "no matching local endpoint")]


def test_the_gateway_s_mac_answers_every_arp_question(pod: Datapath, loaded_root: Path) -> None:
    program = Pins(loaded_root).program(FROM_CONTAINER)
    verdict, answer = run(program, arp(1, POD_MAC, POD, "169.254.1.1"))
    assert verdict == REDIRECT
    raw = {name: bytes.fromhex(mac.replace(":", "")) for name, mac in (("pod", POD_MAC), ("host", HOST_MAC))}
    assert (answer[:6], answer[6:12]) == (raw["pod"], raw["host"])
    assert answer[20:22] == b"\x00\x02"
    assert (answer[22:28], answer[32:38]) == (raw["host"], raw["pod"])
    assert (answer[28:32], answer[38:42]) == (bytes([169, 254, 1, 1]), bytes([10, 1, 1, 10]))


def test_an_arp_answer_or_announcement_is_the_stack_s_and_a_foreign_one_is_dropped(
    pod: Datapath, loaded_root: Path
) -> None:
    program = Pins(loaded_root).program(FROM_CONTAINER)
    assert run(program, arp(2, POD_MAC, POD, NODE))[0] == PASS
    assert run(program, arp(1, POD_MAC, POD, POD))[0] == PASS
    assert run(program, arp(1, POD_MAC, NEIGHBOUR, NODE))[0] == SHOT


def test_a_packet_without_tunnel_metadata_is_no_overlay_packet(pod: Datapath, loaded_root: Path) -> None:
    assert run(Pins(loaded_root).program(FROM_OVERLAY), Packet(PEER, POD).frame())[0] == SHOT
    assert drops(pod) == [("ingress", "no tunnel key")]
