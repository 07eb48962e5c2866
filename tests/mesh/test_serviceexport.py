from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import timestamp
from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope
from mesh.errors import DecodeError
from mesh.serviceexport import (
    HEADLESS,
    ClientIPConfig,
    ServiceExport,
    ServicePort,
    SessionAffinityConfig,
    admit,
    decode,
    encode,
)

SCOPE = PeerScope(ClusterName("west"), ClusterID(2), IdentityLayout())
CREATED = "2026-11-23T09:15:02Z"
MINIMAL: dict[str, Any] = {
    "cluster": "west",
    "name": "web",
    "namespace": "shop",
    "exportCreationTimestamp": CREATED,
    "ports": [],
    "type": "ClusterSetIP",
    "sessionAffinity": "None",
    "ipFamilies": ["IPv4"],
}
# every field, as Go writes it
FULL = (
    b'{"cluster":"west","name":"web","namespace":"shop","annotations":{"a":"\\u003cb\\u003e"},'
    b'"labels":{"app":"web"},"exportCreationTimestamp":"2026-11-23T09:15:02Z",'
    b'"ports":[{"name":"http","protocol":"TCP","appProtocol":"kubernetes.io/h2c","port":80},'
    b'{"protocol":"UDP","port":53},{"port":0}],"type":"Headless","sessionAffinity":"ClientIP",'
    b'"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"ipFamilies":["IPv4","IPv6"],'
    b'"internalTrafficPolicy":"Local","trafficDistribution":"PreferClose"}'
)

names = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=5)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
maps = st.dictionaries(texts, texts, max_size=3)
int32 = st.integers(-(2**31), 2**31 - 1)
exports = st.builds(
    ServiceExport,
    cluster=names,
    namespace=names,
    name=names,
    created=st.datetimes(min_value=datetime(2, 1, 1)).map(
        lambda moment: timestamp.write(moment.replace(tzinfo=UTC))
    ),
    ports=st.lists(st.builds(ServicePort, texts, texts, int32, st.none() | texts), max_size=3).map(tuple),
    type=st.sampled_from(["ClusterSetIP", "Headless"]),
    session_affinity=st.sampled_from(["ClientIP", "None"]),
    session_affinity_config=st.none()
    | st.builds(SessionAffinityConfig, st.none() | st.builds(ClientIPConfig, st.none() | int32)),
    ip_families=st.sampled_from([("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4")]),
    internal_traffic_policy=st.sampled_from([None, "Cluster", "Local"]),
    traffic_distribution=st.sampled_from([None, "PreferClose", "PreferSameZone", "PreferSameNode"]),
    annotations=maps,
    labels=maps,
)


def export(**said: Any) -> ServiceExport:
    return decode("shop/web", json.dumps(MINIMAL | said).encode())


@given(exports)
def test_what_is_written_reads_the_same(value: ServiceExport) -> None:
    suffix, written = encode(value)
    assert decode(suffix, written) == value
    assert encode(decode(suffix, written)) == (suffix, written)


@given(exports)
def test_names_in_another_case_read_the_same(value: ServiceExport) -> None:
    suffix, written = encode(value)
    tree = {name.upper(): item for name, item in json.loads(written).items()}
    assert decode(suffix, json.dumps(tree).encode()) == value


def test_every_field_is_written_as_go_writes_it() -> None:
    value = decode("shop/web", FULL)
    assert value == ServiceExport(
        cluster="west",
        namespace="shop",
        name="web",
        created=CREATED,
        ports=(
            ServicePort("http", "TCP", 80, "kubernetes.io/h2c"),
            ServicePort("", "UDP", 53),
            ServicePort("", "", 0),
        ),
        type=HEADLESS,
        session_affinity="ClientIP",
        session_affinity_config=SessionAffinityConfig(ClientIPConfig(10800)),
        ip_families=("IPv4", "IPv6"),
        internal_traffic_policy="Local",
        traffic_distribution="PreferClose",
        annotations={"a": "<b>"},
        labels={"app": "web"},
    )
    assert encode(value) == ("shop/web", FULL)
    assert value.created_at == datetime(2026, 11, 23, 9, 15, 2, tzinfo=UTC)


def test_empty_maps_are_left_out_and_no_ports_are_written() -> None:
    _, written = encode(export(annotations={}, labels=None, internalTrafficPolicy=None))
    assert json.loads(written) == MINIMAL
    assert list(json.loads(written)) == list(MINIMAL)


@pytest.mark.parametrize("ports", [None, []])
def test_null_ports_stay_null(ports: object) -> None:
    assert json.loads(encode(export(ports=ports))[1])["ports"] == ports
    changed = replace(export(ports=ports), ports=(ServicePort("http", "TCP", 80),))
    assert decode(*encode(changed)).ports == changed.ports


@pytest.mark.parametrize("config", [{}, {"clientIP": {}}, {"clientIP": {"timeoutSeconds": 0}}])
def test_parts_of_an_affinity_configuration_stay_what_they_are(config: object) -> None:
    assert json.loads(encode(export(sessionAffinityConfig=config))[1])["sessionAffinityConfig"] == config


def repeated(*names: str) -> bytes:
    maps = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    tree = MINIMAL | {name: maps[name.lower()] for name in names}
    return json.dumps(tree, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "names",
    [
        ("annotations", "labels", "Annotations", "Labels"),
        ("Labels", "Annotations", "labels", "annotations"),
        ("labels", "Labels"),
        ("Labels",),
        ("Annotations", "Labels"),
    ],
)
def test_labels_and_annotations_that_are_repeated_for_older_readers_are_read_and_kept(
    names: tuple[str, ...],
) -> None:
    value = decode("shop/web", repeated(*names))
    assert value.labels == ({"a": "b"} if "Labels" in names or "labels" in names else {})
    assert value.annotations == ({"c": "d"} if "Annotations" in names else {})
    assert encode(value) == ("shop/web", repeated(*names))
    changed = json.loads(encode(replace(value, labels={"x": "y"}, annotations={}))[1])
    assert all(changed[name] == {"x": "y"} for name in names if name.lower() == "labels")
    assert not {"annotations", "Annotations"} & changed.keys()


@pytest.mark.parametrize("empty", [None, {}])
def test_a_repetition_that_says_nothing_is_forgotten(empty: object) -> None:
    value = export(labels={"a": "b"}, Labels=empty)
    assert (value.labels, value.members) == ({}, ())  # of equal names the last counts


def test_a_label_of_that_name_is_no_repetition() -> None:
    value = export(labels={"Labels": "x"})
    assert value.members == ()
    assert value.labels == {"Labels": "x"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"cluster": ""}, "cluster is unset"),
        ({"namespace": None}, "namespace is unset"),
        ({"name": ""}, "name is unset"),
        ({"name": "db"}, "namespaced name does not match key: got 'shop/db'"),
        ({"exportCreationTimestamp": None}, "exportCreationTimestamp is unset"),
        ({"exportCreationTimestamp": "0001-01-01T00:00:00Z"}, "exportCreationTimestamp is unset"),
        ({"exportCreationTimestamp": ""}, "exportCreationTimestamp: '' is not a timestamp"),
        ({"exportCreationTimestamp": "yesterday"}, "exportCreationTimestamp: 'yesterday'"),
        ({"exportCreationTimestamp": 1}, "Expected `str"),
        ({"type": ""}, "type is unknown"),
        ({"type": "ExternalName"}, "type is unknown: ExternalName"),
        ({"sessionAffinity": ""}, "session affinity is unknown"),
        ({"sessionAffinity": "none"}, "session affinity is unknown: none"),
        ({"sessionAffinityConfig": []}, "Expected `object"),
        ({"ipFamilies": None}, "ipFamilies is unset"),
        ({"ipFamilies": []}, "ipFamilies is unset"),
        ({"ipFamilies": ["IPv4", "IPv4"]}, "ipFamilies has duplicates"),
        ({"ipFamilies": ["IPv5"]}, "IP family is unknown: IPv5"),
        ({"internalTrafficPolicy": ""}, "internal traffic policy is unknown"),
        ({"internalTrafficPolicy": "Remote"}, "internal traffic policy is unknown: Remote"),
        ({"trafficDistribution": ""}, "traffic distribution is unknown"),
        ({"trafficDistribution": "PreferFar"}, "traffic distribution is unknown: PreferFar"),
        ({"ports": [{"port": 2**31}]}, "Expected `int` <= "),
        ({"ports": [{"port": "80"}]}, "Expected `int`"),
        ({"labels": {"a": 1}}, "Expected `str`"),
    ],
)
def test_what_readers_refuse_is_refused(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        export(**said)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize("name", MINIMAL)
def test_a_field_that_is_missing_is_like_null(name: str) -> None:
    value = json.dumps({key: item for key, item in MINIMAL.items() if key != name}).encode()
    if name == "ports":
        assert decode("shop/web", value).has_null_ports
    else:
        with pytest.raises(DecodeError, match=r"is unset|is unknown"):
            decode("shop/web", value)


def test_a_share_of_the_peer_is_admitted() -> None:
    assert admit(export(), SCOPE) == export()


def test_what_is_not_the_peers_is_refused() -> None:
    with pytest.raises(DecodeError, match="unexpected cluster name: got 'east'"):
        admit(export(cluster="east"), SCOPE)
