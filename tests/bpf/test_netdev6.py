"""What the program on the underlay does with single packets of IPv6: headers of every kind before the
transport's, checksums, and what it leaves to the stack."""

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf import endpoint_map
from bpf.datapath import Datapath
from bpf.endpoint_map import Endpoint
from bpf.lb_map import FLAG_EXTERNAL_IP, FLAG_ROUTABLE
from bpf.lb_wanted import Master
from bpf.pins import Pins
from bpf.programspec import FROM_NETDEV
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.testrun import LOOPBACK, PASS, REDIRECT, run
from tests.bpf.testrun6 import (
    DESTINATION,
    HOP_BY_HOP,
    ICMPV6,
    ROUTING,
    SCTP,
    SYN,
    TCP,
    UDP,
    Packet6,
    fragment,
    options,
)

pytestmark = pytest.mark.root

SERVICE, POD, CLIENT, ROUTER = "2001:db8:1::7", "fd00:1::10", "2001:db8::9", "2001:db8:2::1"
PORT = 8080
HEADER, LINK_LAYER = 40, 14
TOO_BIG, AUTHENTICATION = 2, 51
SLOW = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60
)

Pass = Callable[[Packet6], tuple[int, bytes]]


@pytest.fixture
def served(node: Datapath) -> Datapath:
    """A service with a pod of this node behind it."""
    pod = Endpoint(LOOPBACK, 7, 65_601, "02:00:00:00:00:10", "02:00:00:00:00:01")
    node.endpoints.update([(endpoint_map.pack_key(POD), endpoint_map.pack_value(pod))])
    services = {Frontend(SERVICE, 80, p): [Backend(POD, PORT, p, 1)] for p in ("TCP", "UDP")}
    master = Master(flags=FLAG_EXTERNAL_IP | FLAG_ROUTABLE)
    node.services.sync(services, masters=dict.fromkeys(services, master))
    return node


@pytest.fixture
def passed(loaded_root: Path, served: Datapath) -> Pass:
    return lambda packet: run(Pins(loaded_root).program(FROM_NETDEV), packet.frame())


def asking(protocol: int = TCP, **more: object) -> Packet6:
    return replace(Packet6(CLIENT, SERVICE, protocol), **more)


def destination(frame: bytes) -> str:
    return str(IPv6Address(frame[LINK_LAYER + 24 : LINK_LAYER + 40]))


def covered(frame: bytes, transport: int) -> int:
    """What a checksum of this transport is over, summed up: the same before and after, if that was right
    then. Extension headers count the same in both."""
    data = frame[LINK_LAYER + 8 :] + struct.pack("!I", transport)
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    return total % 0xFFFF


CHAINS = st.lists(
    st.builds(options, st.sampled_from([HOP_BY_HOP, DESTINATION]), st.integers(0, 3)), max_size=5
)


@SLOW
@given(st.sampled_from([TCP, UDP]), CHAINS, st.integers(1024, 65_535))
def test_a_packet_is_translated_whatever_options_come_before_the_transport(
    passed: Pass, served: Datapath, protocol: int, chain: list[tuple[int, bytes]], port: int
) -> None:
    packet = asking(protocol, source_port=port).within(*chain)
    before = packet.frame()
    before_sum = covered(before, protocol)
    verdict, after = passed(packet)
    assert (verdict, destination(after)) == (REDIRECT, POD)
    ports = LINK_LAYER + HEADER + sum(len(rest) + 1 for _, rest in chain)
    assert struct.unpack_from("!HH", after, ports) == (port, PORT)
    if protocol == TCP:  # one of UDP that is 0 is none
        assert covered(after, protocol) == before_sum


@pytest.mark.parametrize(
    "packet",
    [
        asking().within((ROUTING, bytes([2, 0, 1]) + bytes(20))),
        asking().within(options(HOP_BY_HOP), options(ROUTING)),
        asking().within(*[options(DESTINATION)] * 6),
        asking().within((AUTHENTICATION, bytes([4]) + bytes(22))),
        asking(SCTP),
        asking(ICMPV6),  # an echo
        asking(source="fe80::9"),
        asking(UDP).within(fragment(185, more=False, identifier=99)),  # whose first has not come
        Packet6("fe80::9", "ff02::1:ff00:7", ICMPV6, icmp_type=135, hop_limit=255),
        Packet6("fe80::9", "ff02::1", ICMPV6, icmp_type=134, hop_limit=255),
    ],
    ids=[
        *(
            "routed",
            "routed after options",
            "too many headers",
            "authenticated",
            "SCTP",
            "echo",
            "link-local",
        ),
        *("later fragment", "neighbour solicitation", "router advertisement"),
    ],
)
def test_what_is_not_for_a_service_or_not_understood_is_the_stack_s_unchanged(
    passed: Pass, packet: Packet6
) -> None:
    assert passed(packet) == (PASS, packet.frame())


def test_all_fragments_of_a_datagram_go_where_its_first_went(passed: Pass) -> None:
    first = asking(UDP).within(fragment(0, more=True, identifier=5))
    later = asking(UDP).within(fragment(1, more=False, identifier=5))
    assert destination(passed(first)[1]) == POD
    verdict, after = passed(later)
    assert (verdict, destination(after)) == (REDIRECT, POD)
    assert after[LINK_LAYER + HEADER :] == later.frame()[LINK_LAYER + HEADER :]  # it has no ports


@SLOW
@given(CHAINS, CHAINS)
def test_an_error_about_an_answer_reaches_the_pod_with_its_own_packet_in_it(
    passed: Pass, served: Datapath, outer: list[tuple[int, bytes]], quoted: list[tuple[int, bytes]]
) -> None:
    assert passed(asking(tcp_flags=SYN))[0] == REDIRECT
    answer = asking().reply().within(*quoted)
    error = answer.about(TOO_BIG, ROUTER).within(*outer)
    before = error.frame()
    verdict, after = passed(error)
    assert (verdict, destination(after)) == (REDIRECT, POD)
    begins = LINK_LAYER + HEADER + sum(len(rest) + 1 for _, rest in outer) + 8
    expected = replace(answer, source=POD, source_port=PORT).frame()[LINK_LAYER:]
    assert after[begins : begins + HEADER] == expected[:HEADER]
    ports = HEADER + sum(len(rest) + 1 for _, rest in quoted)
    assert after[begins + ports :][:4] == expected[ports:][:4]
    assert covered(after, ICMPV6) == covered(before, ICMPV6)


def test_an_error_about_what_nobody_sent_is_the_stack_s(passed: Pass) -> None:
    error = asking(source_port=1).reply().about(TOO_BIG, ROUTER)
    assert passed(error) == (PASS, error.frame())
