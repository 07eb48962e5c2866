"""Recorded bytes come out as they went in, and exactly what Cilium refuses is refused."""

from __future__ import annotations

import pytest
import zstandard

from mesh.addressing import ClusterID
from mesh.dump import UNKNOWN_KEY, examine
from mesh.endpointslice import ClusterEndpointSlice, encode, message
from mesh.keys import Kind, cache_prefix, state_prefix
from mesh.sliceendpoint import Endpoint
from tests.mesh import golden

SLICE = ClusterEndpointSlice("east", ClusterID(1), "shop", "web-1", endpoints=(Endpoint(("10.1.0.4",)),))
EXPORT = (
    b'{"cluster":"east","name":"web","namespace":"shop","exportCreationTimestamp":"2026-11-23T09:15:02Z",'
    b'"ports":[{"name":"http","protocol":"TCP","port":80}],"type":"ClusterSetIP","sessionAffinity":"None",'
    b'"ipFamilies":["IPv4"]}'
)


@pytest.mark.parametrize("recorded", golden.everything(), ids=str)
def test_recorded_entries_come_out_as_they_went_in(recorded: golden.Recorded) -> None:
    result = examine(recorded.key.encode(), recorded.value)
    assert (result.reason, result.is_identical) == (recorded.refusal, not recorded.refusal)


def test_the_recordings_hold_what_they_say() -> None:
    assert {name: len(golden.read(name)) for name in golden.FILES} == {
        "handmade.json": 75,
        "mock-ipv4.json": 80,
        "mock-dualstack-wireguard.json": 120,
    }
    assert sum(bool(recorded.refusal) for recorded in golden.everything()) == 2


@pytest.mark.parametrize(
    "key", ["", "cilium", "cilium/state/ip/v2/default/10.0.0.1", "else/where", "cilium/x"]
)
def test_other_keys_are_unknown(key: str) -> None:
    assert examine(key.encode(), b"{}").reason == UNKNOWN_KEY


@pytest.mark.parametrize(
    "key",
    [
        "cilium/.heartbeat",
        "cilium/synced/east/cilium/state/ip/v1",
        "cilium/.initlock/abc/1f",
        "cilium/.initlock/abc",
        "cilium/.has-cluster-config",
        "cilium/kvstoremesh-lock/1f",
        "cilium/synced/east/cilium/cache/identities/v1",
        "cilium/state/identities/v1/value/k8s:a=b;/192.0.2.1",
        "cilium/state/identities/v1/value/k8s:a=b/c;k8s:d=;/node-1",
        "cilium/state/identities/v1/locks/k8s:a=b;/1f",
    ],
)
def test_what_is_only_carried_is_identical_whatever_it_holds(key: str) -> None:
    assert examine(key.encode(), b"\xff\x00").is_identical


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (
            "nodes/v1/east/n",
            b'{"Name":"n","Cluster":"west","ClusterID":1}',
            "cluster name does not match key",
        ),
        (
            "nodes/v1/east/n",
            b'{"Name":"n","Cluster":"east","ClusterID":256}',
            "ClusterID > 255 is not supported",
        ),
        ("nodes/v1/east/m", b'{"Name":"n","Cluster":"east","ClusterID":1}', "name does not match key"),
        ("nodes/v1/east", b'{"Name":"","Cluster":"east"}', "name is unset"),
        ("services/v1/east/web", b'{"cluster":"east","name":"web"}', "namespace is unset"),
        ("services/v1/shop/web", b'{"namespace":"shop","name":"web"}', "cluster is unset"),
        (
            "services/v1/e/s/w",
            b'{"cluster":"e","namespace":"s","name":"w","clusterID":256}',
            "ClusterID > 255",
        ),
        (
            "services/v1/e/s/w",
            b'{"cluster":"x","namespace":"s","name":"w"}',
            "cluster name does not match key",
        ),
        ("ip/v1/default/10.0.0.1", b'{"IP":"10.0.0.2"}', "IP address does not match key"),
        ("identities/v1/id/x", b"", "key is not a numeric identity"),
        ("endpointslices/v1/east/shop/web-1", b"{}", "invalid zstd frame"),
        ("endpointslices/v1/west/shop/web-1", encode(SLICE)[1], "cluster name does not match key"),
        ("endpointslices/v1/east/shop/web-2", encode(SLICE)[1], "namespaced name does not match key"),
        ("serviceexports/v1/east/shop/web", b"{}", "cluster is unset"),
        ("serviceexports/v1/west/shop/web", EXPORT, "cluster name does not match key"),
        ("serviceexports/v1/east/shop/db", EXPORT, "namespaced name does not match key"),
    ],
)
def test_what_a_decoder_with_defaults_refuses_is_refused(key: str, value: bytes, reason: str) -> None:
    assert examine(b"cilium/state/" + key.encode(), value).reason.startswith(reason)


def test_a_decoder_without_an_id_takes_a_cluster_without_one() -> None:
    value = b'{"Name":"n","Cluster":"east","ClusterID":0}'
    assert examine(b"cilium/state/nodes/v1/east/n", value).reason == ""


def test_an_identity_without_labels_is_empty_on_the_wire() -> None:
    assert examine(b"cilium/state/identities/v1/id/65794", b"").is_identical


def test_a_value_that_reads_but_is_written_otherwise_is_decoded_and_not_identical() -> None:
    result = examine(b"cilium/cluster-config/east", b'{"id": 1, "capabilities": {}}')
    assert (result.reason, result.is_identical) == ("", False)


@pytest.mark.parametrize("kind", [Kind.NODES, Kind.IPS, Kind.IDENTITIES, Kind.SERVICES])
def test_copies_in_the_cache_read_as_the_state_does(kind: Kind) -> None:
    for recorded in golden.read("handmade.json"):
        key = recorded.key.encode()
        prefix = state_prefix(kind, "alpha")
        if key.startswith(prefix):
            copy = cache_prefix(kind, "alpha") + key.removeprefix(prefix)
            assert examine(copy, recorded.value) == examine(key, recorded.value)


@pytest.mark.parametrize("level", [1, 9, 19])
@pytest.mark.parametrize("root", ["state", "cache"])
def test_an_endpoint_slice_is_identical_however_it_is_compressed(root: str, level: int) -> None:
    value = zstandard.ZstdCompressor(level, write_content_size=False).compress(message(SLICE))
    assert value != encode(SLICE)[1]
    assert examine(f"cilium/{root}/endpointslices/v1/east/shop/web-1".encode(), value).is_identical


def test_an_endpoint_slice_that_is_laid_out_otherwise_is_not_identical() -> None:
    value = zstandard.compress(message(SLICE) + message(SLICE)[:6])
    result = examine(b"cilium/state/endpointslices/v1/east/shop/web-1", value)
    assert (result.reason, result.is_identical) == ("", False)


@pytest.mark.parametrize("root", ["state", "cache"])
def test_a_service_export_is_identical(root: str) -> None:
    assert examine(f"cilium/{root}/serviceexports/v1/east/shop/web".encode(), EXPORT).is_identical


def with_unknown_members(value: bytes) -> bytes:
    later = rb'"later":{"a":[1.50,1e3,null,"\u003c"],"b":{"b":true}}'
    return b"{" + later + b"," + value[1:-1] + b',"Later still":-0,"":""}'


@pytest.mark.parametrize(
    "recorded", [entry for entry in golden.everything() if entry.value.startswith(b"{")], ids=str
)
def test_members_that_nobody_knows_are_left_out_of_the_comparison(recorded: golden.Recorded) -> None:
    result = examine(recorded.key.encode(), with_unknown_members(recorded.value))
    assert (result.reason, result.is_identical) == (recorded.refusal, not recorded.refusal)


def test_members_that_nobody_knows_are_left_out_deep_inside_too() -> None:
    key, value = next(
        (entry.key, entry.value) for entry in golden.everything() if b'"zones":{"' in entry.value
    )
    for part in (b'{"Protocol":"TCP",', b'{"zone":"eu-1a",', b'{"name":"eu-1b"'):
        assert part in value
        changed = value.replace(part, part.rstrip(b",") + b',"later":[{}]' + part[-1:].replace(b'"', b""))
        assert changed != value
        assert examine(key.encode(), changed).is_identical


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"Key":0', b'"Key": 0'),
        (b'"Key":0,"Metadata":""', b'"Metadata":"","Key":0'),
        (b'"Key"', b'"key"'),
        (b'"shop"', rb'"\u0073hop"'),
        (b'"Key":0,', b""),
        (b'"Key":0', b'"Key":1,"Key":0'),
    ],
)
def test_everything_else_that_differs_is_not_identical(before: bytes, after: bytes) -> None:
    value = (
        b'{"IP":"10.1.0.4","Mask":null,"HostIP":"","ID":66770,"Key":0,"Metadata":"","K8sNamespace":"shop"}'
    )
    for later in (b"", b',"later":1'):
        changed = value.replace(before, after)[:-1] + later + b"}"
        result = examine(b"cilium/state/ip/v1/default/10.1.0.4", changed)
        assert (result.reason, result.is_identical) == ("", False)
