"""Recorded bytes come out as they went in, and exactly what Cilium refuses is refused."""

from __future__ import annotations

import pytest

from mesh.dump import UNKNOWN_KEY, examine
from mesh.keys import Kind, cache_prefix, state_prefix
from tests.mesh import golden


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
        "cilium/state/identities/v1/value/k8s:a=b;/192.0.2.1",
        "cilium/state/endpointslices/v1/east/shop/web-x2x",
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
