"""Cluster IPs and node ports: unique, stable, inside their ranges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.api.families import family
from lab.api.kinds import POD, SERVICE
from lab.api.services import NODE_PORTS, ServiceAdmission
from lab.api.status import StatusError

CIDR = "172.20.1.0/28"  # 13 usable addresses
CIDR6 = "fd00:20:1::/112"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}], **spec}}


def admit(
    new: dict[str, Any], stored: list[dict[str, Any]], old: dict[str, Any] | None = None
) -> dict[str, Any]:
    return ServiceAdmission(CIDR)(SERVICE, new, old, lambda: stored)


@given(st.sets(st.text("abc", min_size=1), max_size=13))
def test_every_service_gets_an_address_of_its_own_until_the_range_is_full(names: set[str]) -> None:
    stored: list[dict[str, Any]] = []
    for name in sorted(names):
        stored.append(admit(service(name, type="NodePort"), stored))
    addresses = {entry["spec"]["clusterIP"] for entry in stored}
    ports = {entry["spec"]["ports"][0]["nodePort"] for entry in stored}
    assert len(addresses) == len(ports) == len(names)
    assert all(IPv4Address(address) in IPv4Network(CIDR) for address in addresses)
    assert ports <= set(NODE_PORTS)


def test_a_full_range_is_an_error() -> None:
    stored = [admit(service(f"s{number}", clusterIP=f"172.20.1.{number}"), []) for number in range(2, 15)]
    with pytest.raises(StatusError, match="no cluster IP is left"):
        admit(service("one-more"), stored)


def test_a_wish_is_respected_unless_taken_or_outside() -> None:
    given_ = admit(service("a", clusterIP="172.20.1.9"), [])
    assert given_["spec"]["clusterIPs"] == ["172.20.1.9"]
    for address in ("172.20.1.9", "172.20.2.1", "nonsense"):
        with pytest.raises(StatusError) as refused:
            admit(service("b", clusterIP=address), [given_])
        assert refused.value.code == 422


def test_headless_and_external_services_have_no_address() -> None:
    assert admit(service("a", clusterIP="None"), [])["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in admit(service("b", type="ExternalName", externalName="x.y"), [])["spec"]


def test_an_update_keeps_address_and_ports_and_cannot_change_the_address() -> None:
    old = admit(service("a", type="NodePort"), [])
    again = admit(service("a", type="NodePort", ports=[{"port": 80}, {"port": 81}]), [], old)
    assert again["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert again["spec"]["ports"][0] == old["spec"]["ports"][0]
    assert again["spec"]["ports"][1]["nodePort"] != old["spec"]["ports"][0]["nodePort"]
    with pytest.raises(StatusError, match="immutable"):
        admit(service("a", clusterIP="172.20.1.3"), [], old)


def test_other_kinds_pass_untouched() -> None:
    body = {"metadata": {"name": "p"}}
    assert ServiceAdmission(CIDR)(POD, body, None, list) is body


def test_a_node_port_is_the_one_asked_for_unless_it_is_taken_or_outside() -> None:
    taken = admit(service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30_080}]), [])
    assert taken["spec"]["ports"][0]["nodePort"] == 30_080
    assert taken["spec"]["externalTrafficPolicy"] == "Cluster"
    for number in (30_080, 29_999, 32_768):
        with pytest.raises(StatusError) as refused:
            admit(service("b", type="NodePort", ports=[{"port": 80, "nodePort": number}]), [taken])
        assert refused.value.code == 422


def test_two_protocols_of_one_service_may_share_a_node_port_and_one_protocol_may_not() -> None:
    ports = [{"port": 53, "protocol": protocol, "nodePort": 30_053} for protocol in ("TCP", "UDP")]
    shared = admit(service("dns", type="NodePort", ports=ports), [])
    assert [port["nodePort"] for port in shared["spec"]["ports"]] == [30_053, 30_053]
    again = admit(service("dns", type="NodePort", ports=ports), [], shared)
    assert again["spec"]["ports"] == shared["spec"]["ports"]
    with pytest.raises(StatusError, match="already allocated"):
        twice = [{"port": 80, "nodePort": 30_080}, {"port": 81, "nodePort": 30_080}]
        admit(service("web", type="NodePort", ports=twice), [])


def test_a_number_asked_for_later_in_the_list_is_not_given_to_an_earlier_port() -> None:
    plain = admit(service("web", type="NodePort"), [])["spec"]["ports"][0]["nodePort"]
    ports = [{"port": 80}, {"port": 81, "nodePort": plain}]
    found = admit(service("web", type="NodePort", ports=ports), [])["spec"]["ports"]
    assert found[1]["nodePort"] == plain != found[0]["nodePort"]


def test_node_ports_go_with_the_type_and_are_not_for_cluster_ips() -> None:
    old = admit(service("web", type="NodePort"), [])
    new = admit(service("web", type="ClusterIP", ports=old["spec"]["ports"]), [], old)
    assert "nodePort" not in new["spec"]["ports"][0]
    with pytest.raises(StatusError, match="Forbidden"):
        admit(service("web", ports=[{"port": 80, "nodePort": 30_080}]), [])
    quiet = service("web", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert "nodePort" not in admit(quiet, [])["spec"]["ports"][0]


@pytest.mark.parametrize("field", ["externalTrafficPolicy", "internalTrafficPolicy"])
def test_traffic_policies_are_cluster_or_local(field: str) -> None:
    assert admit(service("web", type="NodePort", **{field: "Local"}), [])["spec"][field] == "Local"
    with pytest.raises(StatusError, match="Unsupported value"):
        admit(service("web", type="NodePort", **{field: "Remote"}), [])


def dual(new: dict[str, Any], stored: list[dict[str, Any]], old: dict[str, Any] | None = None) -> Any:
    return ServiceAdmission(CIDR, CIDR6)(SERVICE, new, old, lambda: stored)["spec"]


@pytest.mark.parametrize(
    ("asked", "policy", "families"),
    [
        ({}, "SingleStack", ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack"}, "RequireDualStack", ["IPv4", "IPv6"]),
        ({"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
        ({"ipFamilies": ["IPv6", "IPv4"]}, "RequireDualStack", ["IPv6", "IPv4"]),
        ({"clusterIP": "fd00:20:1::9"}, "SingleStack", ["IPv6"]),
        ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}, "PreferDualStack", ["IPv6", "IPv4"]),
        ({"clusterIPs": ["172.20.1.9", "fd00:20:1::9"]}, "RequireDualStack", ["IPv4", "IPv6"]),
    ],
)
def test_a_service_gets_an_address_of_each_family_that_it_asks_for(
    asked: dict[str, Any], policy: str, families: list[str]
) -> None:
    spec = dual(service("a", **asked), [])
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, families)
    assert [family(address) for address in spec["clusterIPs"]] == families
    assert spec["clusterIP"] == spec["clusterIPs"][0]
    assert set(asked.get("clusterIPs", ())) <= set(spec["clusterIPs"])


def test_addresses_of_both_families_are_nobody_elses() -> None:
    specs: list[dict[str, Any]] = []
    for name in "abcdefgh":
        specs.append(dual(service(name, ipFamilyPolicy="PreferDualStack"), [{"spec": s} for s in specs]))
    addresses = [address for spec in specs for address in spec["clusterIPs"]]
    assert len(set(addresses)) == 16


def test_a_second_family_comes_and_goes_and_the_first_stays() -> None:
    old = {"spec": dual(service("a"), [])}
    both = {"spec": dual(service("a", **old["spec"] | {"ipFamilyPolicy": "PreferDualStack"}), [], old)}
    assert both["spec"]["clusterIPs"][0] == old["spec"]["clusterIP"]
    assert both["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert dual(service("a", **both["spec"]), [], both) == both["spec"] | {"ports": both["spec"]["ports"]}
    alone = dual(service("a", **both["spec"] | {"ipFamilyPolicy": "SingleStack"}), [], both)
    assert (alone["clusterIPs"], alone["ipFamilies"]) == (old["spec"]["clusterIPs"], ["IPv4"])
    with pytest.raises(StatusError, match="immutable"):
        dual(service("a", ipFamilies=["IPv6"]), [], old)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"ipFamilyPolicy": "RequireDualStack"}, "not configured for dual-stack"),
        ({"ipFamilies": ["IPv6"]}, "not configured on this cluster"),
        ({"ipFamilyPolicy": "Both"}, "must be one of"),
        (
            {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]},
            "not configured|dual-stack policy",
        ),
    ],
)
def test_what_a_cluster_of_one_family_cannot_give_is_refused(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(StatusError, match=why):
        admit(service("a", **asked), [])


def test_a_cluster_of_one_family_gives_one_where_two_are_preferred() -> None:
    spec = admit(service("a", ipFamilyPolicy="PreferDualStack"), [])["spec"]
    assert (spec["ipFamilies"], len(spec["clusterIPs"])) == (["IPv4"], 1)


def test_a_headless_service_has_families_and_no_address() -> None:
    spec = dual(service("a", clusterIP="None", ipFamilyPolicy="PreferDualStack"), [])
    assert (spec["clusterIPs"], spec["ipFamilies"]) == (["None"], ["IPv4", "IPv6"])
