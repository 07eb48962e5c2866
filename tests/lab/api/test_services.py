"""Cluster IPs and node ports: unique, stable, inside their ranges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.api.kinds import POD, SERVICE
from lab.api.services import NODE_PORTS, ServiceAdmission
from lab.api.status import StatusError

CIDR = "172.20.1.0/28"  # 13 usable addresses


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
