from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope
from mesh.errors import DecodeError
from mesh.service import GlobalService, Port, Zone, admit, decode, encode
from tests.mesh import golden

SCOPE = PeerScope(ClusterName("west"), ClusterID(2), IdentityLayout())

names = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=5)
addresses = st.ip_addresses().map(str)
ports = st.dictionaries(
    st.text(max_size=4), st.builds(Port, st.sampled_from(["TCP", "UDP"]), st.integers(0, 65535)), max_size=3
)
maps = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)
services = st.builds(
    GlobalService,
    cluster=names,
    namespace=names,
    name=names,
    frontends=st.dictionaries(addresses, ports, max_size=3),
    backends=st.dictionaries(addresses, ports, max_size=3),
    hostnames=st.dictionaries(addresses, st.text(max_size=4), max_size=2),
    zones=st.dictionaries(
        addresses,
        st.builds(Zone, st.text(max_size=4), st.lists(st.text(max_size=3), max_size=2).map(tuple)),
        max_size=2,
    ),
    labels=maps,
    selector=maps,
    include_external=st.booleans(),
    shared=st.booleans(),
    cluster_id=st.integers(0, 2**32 - 1).map(ClusterID),
)
MINIMAL = {"cluster": "west", "namespace": "shop", "name": "web", "clusterID": 2}


def service(**said: object) -> GlobalService:
    return decode("shop/web", json.dumps(MINIMAL | said).encode())


@given(services)
def test_what_is_written_reads_the_same(value: GlobalService) -> None:
    assert decode(*encode(value)) == value


@given(services)
def test_the_slow_way_reads_what_the_fast_way_reads(value: GlobalService) -> None:
    suffix, written = encode(value)
    tree = {name.upper(): item for name, item in json.loads(written).items()}
    assert decode(suffix, json.dumps(tree).encode()) == value


nullable_ports = st.dictionaries(
    addresses,
    st.none()
    | st.dictionaries(st.text(max_size=4), st.none() | st.just({"Protocol": "TCP", "Port": 1}), max_size=3),
    max_size=3,
)


@given(
    st.none() | nullable_ports,
    st.none() | nullable_ports,
    st.none() | st.just({}),
    st.dictionaries(
        addresses, st.sampled_from([{"zone": "a", "forZones": None}, {"zone": "", "forZones": []}])
    ),
)
def test_nulls_stay_nulls(frontends: object, backends: object, labels: object, zones: object) -> None:
    _, written = encode(service(frontends=frontends, backends=backends, labels=labels, zones=zones))
    tree = json.loads(written)
    assert (tree["frontends"], tree["backends"], tree["labels"]) == (frontends, backends, labels)
    assert tree.get("zones", {}) == zones
    assert encode(decode("shop/web", written)) == ("shop/web", written)


def test_what_is_absent_is_empty_and_not_null() -> None:
    _, written = encode(service())
    assert written == (
        b'{"cluster":"west","namespace":"shop","name":"web","frontends":{},"backends":{},"labels":{},'
        b'"selector":{},"includeExternal":false,"shared":false,"clusterID":2}'
    )


def test_hostnames_and_zones_are_written_when_there_are_any() -> None:
    value = replace(
        service(),
        hostnames={"10.2.0.1": "web-0"},
        zones={"10.2.0.1": Zone("a", ("b",)), "10.2.0.2": Zone("c")},
    )
    tree = json.loads(encode(value)[1])
    assert tree["hostnames"] == {"10.2.0.1": "web-0"}
    assert tree["zones"] == {
        "10.2.0.1": {"zone": "a", "forZones": [{"name": "b"}]},
        "10.2.0.2": {"zone": "c", "forZones": []},
    }


def test_a_null_where_something_has_come_since_is_forgotten() -> None:
    value = service(backends={"10.2.0.1": None, "10.2.0.2": {"http": None}}, labels=None)
    port = {"http": Port("TCP", 80)}
    changed = replace(value, backends={"10.2.0.1": port, "10.2.0.2": port}, labels={"a": "b"})
    assert decode(*encode(changed)) == replace(changed, nulls=frozenset())


def test_backends_with_null_ports_are_backends_without_ports() -> None:
    value = decode(*next(pair for pair in golden.values("services/v1/alpha/") if "unnamed-port" in pair[0]))
    assert value.backends == {"192.0.2.1": {"": Port("TCP", 6443)}, "192.0.2.2": {}, "192.0.2.3": {}}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"cluster": ""}, "cluster is unset"),
        ({"namespace": ""}, "namespace is unset"),
        ({"name": None}, "name is unset"),
        ({"name": "other"}, "namespaced name does not match key"),
        ({"backends": {"x": {}}}, "invalid IP address"),
        ({"frontends": {"": {}}}, "invalid IP address"),
        ({"backends": {"fe80::1%eth0": {}}}, "invalid IP address"),
        ({"backends": {"10.0.0.01": None}}, "invalid IP address"),
        ({"backends": {"10.0.0.1": {"http": {"Port": 65536}}}}, "Expected `int` <= 65535"),
        ({"backends": {"10.0.0.1": []}}, "Expected `object"),
        ({"backends": {"10.0.0.1": {"http": []}}}, "Expected `object | null`, got `array`"),
        ({"labels": {"a": 1}}, "Expected `str`"),
        ({"shared": "true"}, "Expected `bool`"),
        ({"clusterID": 2**32}, "Expected `int` <= "),
        ({"zones": {"x": {"zone": 1}}}, "Expected `str`"),
    ],
)
def test_other_values_are_refused(said: dict[str, object], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        service(**said)
    assert caught.value.reason.startswith(reason)


def test_a_service_of_the_peer_is_admitted() -> None:
    assert admit(service(), SCOPE) == service()


@pytest.mark.parametrize("said", [{"cluster": "east"}, {"clusterID": 1}, {"clusterID": 0}])
def test_what_is_not_the_peers_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(DecodeError, match="unexpected cluster"):
        admit(service(**said), SCOPE)
