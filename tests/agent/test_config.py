"""Settings are checked once, and say which flag is wrong."""

from __future__ import annotations

import pytest

from agent.config import checked_ip, local_cluster, native_cidrs, routing, seconds
from agent.errors import ConfigError
from mesh.routingmode import RoutingMode


@pytest.mark.parametrize(
    ("text", "wanted"), [("0s", 0), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25)]
)
def test_durations_are_read_as_go_writes_them(text: str, wanted: float) -> None:
    assert seconds(text, "--clustermesh-cache-ttl") == wanted


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1 m", "1d", "\u0661s"])
def test_what_is_no_duration_is_refused_with_its_flag(text: str) -> None:
    with pytest.raises(ConfigError, match="--clustermesh-cache-ttl"):
        seconds(text, "--clustermesh-cache-ttl")


@pytest.mark.parametrize(
    ("name", "number", "most", "complaint"),
    [
        ("East", 1, 255, "East"),
        ("default", 1, 255, "means unset"),
        ("east", 0, 255, "--cluster-id .* not 0"),
        ("east", -1, 255, "--cluster-id .* not -1"),
        ("east", 256, 255, "--cluster-id .* not 256"),
        ("east", 1, 300, "max-connected-clusters"),
    ],
)
def test_who_cannot_be_a_member_is_refused(name: str, number: int, most: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        local_cluster(name, number, most)


def test_a_nodes_address_is_ipv4_or_left_open() -> None:
    assert checked_ip("") == ""
    assert checked_ip("192.0.2.1") == "192.0.2.1"
    with pytest.raises(ConfigError, match="--node-ip"):
        checked_ip("fd00::1")


def test_direct_routes_are_for_native_routing_only() -> None:
    assert routing(RoutingMode.NATIVE, direct=True)
    assert not routing(RoutingMode.TUNNEL, direct=False)
    with pytest.raises(ConfigError, match="--routing-mode=native"):
        routing(RoutingMode.TUNNEL, direct=True)


def test_native_routing_cidrs_are_networks_of_their_family_or_left_open() -> None:
    assert native_cidrs("", "") == ()
    assert native_cidrs("10.0.0.0/8", "FD00:10::0/32") == ("10.0.0.0/8", "fd00:10::/32")
    for ipv4, ipv6, flag in (
        ("fd00::/16", "", "--ipv4-native-routing-cidr"),
        ("", "10.0.0.0/8", "--ipv6-native-routing-cidr"),
        ("10.1.0.0/8", "", "--ipv4-native-routing-cidr .* host bits"),
    ):
        with pytest.raises(ConfigError, match=flag):
            native_cidrs(ipv4, ipv6)
