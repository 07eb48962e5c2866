from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.keys import (
    HEARTBEAT,
    ClassifiedKey,
    Kind,
    Role,
    cache_prefix,
    classify,
    cluster_config,
    state_prefix,
    synced_key,
    synced_prefix,
)
from tests.mesh import golden

kinds = st.sampled_from(Kind)
clusters = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
segments = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("kind", "state", "cache", "synced"),
    [
        (Kind.NODES, "nodes/v1/east/", "nodes/v1/east/", "nodes/v1"),
        (Kind.IDENTITIES, "identities/v1/id/", "identities/v1/east/id/", "identities/v1"),
        (Kind.IPS, "ip/v1/default/", "ip/v1/east/", "ip/v1"),
        (Kind.SERVICES, "services/v1/east/", "services/v1/east/", "services/v1"),
        (Kind.ENDPOINTSLICES, "endpointslices/v1/east/", "endpointslices/v1/east/", "endpointslices/v1"),
        (Kind.SERVICEEXPORTS, "serviceexports/v1/east/", "serviceexports/v1/east/", "serviceexports/v1"),
    ],
)
def test_keys_are_those_of_the_field(kind: Kind, state: str, cache: str, synced: str) -> None:
    assert state_prefix(kind, "east") == f"cilium/state/{state}".encode()
    assert cache_prefix(kind, "east") == f"cilium/cache/{cache}".encode()
    assert synced_key(kind, "east") == f"cilium/synced/east/cilium/state/{synced}".encode()
    assert synced_key(kind, "east", cached=True) == f"cilium/synced/east/cilium/cache/{synced}".encode()
    assert synced_key(kind, "east").startswith(synced_prefix("east"))


def test_single_keys_are_those_of_the_field() -> None:
    assert HEARTBEAT == b"cilium/.heartbeat"
    assert cluster_config("east") == b"cilium/cluster-config/east"


@given(clusters, kinds, st.booleans())
def test_canaries_are_recognised(cluster: str, kind: Kind, cached: bool) -> None:
    key = synced_key(kind, cluster, cached=cached)
    assert classify(key) == ClassifiedKey(Role.SYNCED, kind, cluster)


@given(clusters, st.sampled_from([Kind.NODES, Kind.SERVICES, Kind.ENDPOINTSLICES]), segments, segments)
def test_entries_are_recognised_in_both_layouts(cluster: str, kind: Kind, one: str, other: str) -> None:
    suffix = f"{one}/{other}"
    state = classify(state_prefix(kind, cluster) + suffix.encode())
    cache = classify(cache_prefix(kind, cluster) + suffix.encode())
    assert state == ClassifiedKey(Role.STATE, kind, cluster, suffix)
    assert cache == ClassifiedKey(Role.CACHE, kind, cluster, suffix)


@given(clusters, st.sampled_from(["10.0.0.1", "10.0.0.0/8", "fd00::1", "fd00::/64"]))
def test_addresses_name_their_cluster_in_the_cache_only(cluster: str, suffix: str) -> None:
    state = classify(state_prefix(Kind.IPS, cluster) + suffix.encode())
    cache = classify(cache_prefix(Kind.IPS, cluster) + suffix.encode())
    assert state == ClassifiedKey(Role.STATE, Kind.IPS, "", suffix)
    assert cache == ClassifiedKey(Role.CACHE, Kind.IPS, cluster, suffix)


def test_identities_are_recognised_in_both_layouts() -> None:
    state = classify(state_prefix(Kind.IDENTITIES, "east") + b"65536")
    cache = classify(cache_prefix(Kind.IDENTITIES, "east") + b"65536")
    assert state == ClassifiedKey(Role.STATE, Kind.IDENTITIES, "", "65536")
    assert cache == ClassifiedKey(Role.CACHE, Kind.IDENTITIES, "east", "65536")


@pytest.mark.parametrize(
    "key",
    [
        "cilium/.initlock/a/b",
        "cilium/kvstoremesh-lock/1f",
        "cilium/.has-cluster-config",
        "cilium/state/identities/v1/value/k8s:a=b;/n",
        "cilium/state/identities/v1/locks/k8s:a=b;/1f",
    ],
)
def test_locks_and_allocator_keys_are_their_owners_business(key: str) -> None:
    classified = classify(key.encode())
    assert classified is not None
    assert classified.role is Role.LOCAL


@pytest.mark.parametrize(
    "key",
    [
        "",
        "cilium",
        "cilium/",
        "Cilium/.heartbeat",
        "/cilium/.heartbeat",
        "cilium/.heartbeat/x",
        "cilium/cluster-config",
        "cilium/cluster-config/",
        "cilium/cluster-config/a/b",
        "cilium/synced/a/cilium/state/other/v1",
        "cilium/synced//cilium/state/ip/v1",
        "cilium/state/ip/v1/other/10.0.0.1",
        "cilium/state/ip/v1/default",
        "cilium/state/nodes/v2/a/b",
        "cilium/state/nodes/v1/",
        "cilium/state/nodes/v1//b",
        "cilium/state/cnp/v1/a/b",
        "cilium/state/identities/v1/id",
        "cilium/state/identities/v1/id/1/2",
        "cilium/state/identities/v1/x/1",
        "cilium/cache/identities/v1/a/1",
        "cilium/cache/identities/v1/id/1",
        "cilium/cache/nodes/v1/a",
        "cilium/cache/cnp/v1/a/b",
    ],
)
def test_other_keys_are_no_keys_of_a_mesh(key: str) -> None:
    assert classify(key.encode()) is None


def test_bytes_that_are_no_text_are_no_key() -> None:
    assert classify(b"cilium/state/nodes/v1/a/\xff") is None


@given(
    st.text()
    | st.lists(st.sampled_from(["cilium", "state", "cache", "nodes", "v1", "id", "", "a"])).map("/".join)
)
def test_every_text_is_classified_or_not(text: str) -> None:
    classified = classify(text.encode("utf-8", "replace"))
    assert classified is None or isinstance(classified.role, Role)


def test_every_recorded_key_is_a_key_of_a_mesh() -> None:
    assert [str(recorded) for recorded in golden.everything() if not classify(recorded.key.encode())] == []
