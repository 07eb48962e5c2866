from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import (
    ClusterID,
    ClusterName,
    IdentityLayout,
    PeerScope,
    ReservedIdentity,
    parse_cluster_name,
)
from mesh.errors import InvalidNameError, MeshError

layouts = st.sampled_from([IdentityLayout(255), IdentityLayout(511)])


@pytest.mark.parametrize(
    ("capacity", "cluster", "first", "last"),
    [
        (255, 0, 256, 65535),
        (255, 1, 65536, 131071),
        (255, 3, 196608, 262143),
        (255, 255, 16711680, 16777215),
        (511, 0, 256, 32767),
        (511, 1, 32768, 65535),
        (511, 511, 16744448, 16777215),
    ],
)
def test_each_cluster_has_its_range(capacity: int, cluster: int, first: int, last: int) -> None:
    layout = IdentityLayout(capacity)
    assert (layout.minimum(cluster), layout.maximum(cluster)) == (first, last)


def test_the_same_number_is_another_clusters_in_the_other_mode() -> None:
    assert IdentityLayout(255).cluster_of(196612) == 3
    assert IdentityLayout(511).cluster_of(196612) == 6


@given(layouts, st.data())
def test_every_identity_of_a_range_is_its_clusters_and_nobody_elses(
    layout: IdentityLayout, data: st.DataObject
) -> None:
    cluster = data.draw(st.integers(0, layout.max_connected_clusters))
    identity = data.draw(st.integers(layout.minimum(cluster), layout.maximum(cluster)))
    owners = [c for c in range(layout.max_connected_clusters + 1) if layout.contains(c, identity)]
    assert owners == [cluster]
    assert layout.cluster_of(identity) == cluster


@given(layouts, st.integers(0, 510))
def test_ranges_leave_no_gap(layout: IdentityLayout, cluster: int) -> None:
    assert layout.maximum(cluster) + 1 == layout.minimum(cluster + 1)


@given(layouts, st.integers(2**24, 2**32 - 1) | st.integers(max_value=-1))
def test_identities_of_a_local_scope_belong_to_no_cluster(layout: IdentityLayout, identity: int) -> None:
    with pytest.raises(ValueError, match="global scope"):
        layout.cluster_of(identity)
    assert not layout.contains(layout.max_connected_clusters, identity)


@pytest.mark.parametrize("capacity", [0, 1, 127, 254, 256, 1023])
def test_only_two_layouts_exist(capacity: int) -> None:
    with pytest.raises(MeshError):
        IdentityLayout(capacity)


@pytest.mark.parametrize("name", ["a", "0", "east", "east-2", "a--b", "x" * 32])
def test_a_proper_cluster_name_is_kept(name: str) -> None:
    assert parse_cluster_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "x" * 33, "a\n", "a/b", "é"])
def test_other_cluster_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_cluster_name(name)


@pytest.mark.parametrize(
    ("cluster_id", "reason"),
    [(0, "ClusterID 0 is reserved"), (1, ""), (255, ""), (256, "ClusterID > 255 is not supported")],
)
def test_a_members_id_has_bounds(cluster_id: int, reason: str) -> None:
    assert IdentityLayout(255).check_cluster_id(cluster_id) == reason


def test_511_clusters_have_more_ids() -> None:
    assert IdentityLayout(511).check_cluster_id(511) == ""


@given(layouts, st.integers(1, 255), st.integers(0, 2**32 - 1))
def test_a_peer_owns_what_the_layout_gives_its_id(
    layout: IdentityLayout, cluster: int, identity: int
) -> None:
    scope = PeerScope(ClusterName("west"), ClusterID(cluster), layout)
    assert scope.owns(identity) == layout.contains(cluster, identity)


def test_reserved_identities_are_called_as_their_labels_are() -> None:
    assert ReservedIdentity.REMOTE_NODE.text == "remote-node"
    assert ReservedIdentity.KUBE_APISERVER.text == "kube-apiserver"
    assert ReservedIdentity.WORLD_IPV4.text == "world-ipv4"
