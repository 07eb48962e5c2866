from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID, ClusterName, Identity, IdentityLayout, PeerScope
from mesh.errors import DecodeError, MeshError
from mesh.gojson import MAX_VALUE_BYTES
from mesh.identity import (
    Label,
    SecurityIdentity,
    admit,
    decode,
    encode,
    labels_text,
    parse_label,
    parse_labels,
    reserved_labels,
)

SCOPE = PeerScope(ClusterName("west"), ClusterID(2), IdentityLayout())
OWN = Identity(2 << 16)
CLUSTER = Label("k8s", "io.cilium.k8s.policy.cluster", "west")

plain = st.characters(exclude_characters=";=:$", exclude_categories=["Cs"])
labels = st.builds(
    Label,
    st.text(plain, min_size=1, max_size=6),
    st.text(plain, min_size=1, max_size=6),
    st.text(st.characters(exclude_characters=";", exclude_categories=["Cs"]), max_size=6),
)
label_sets = st.lists(labels, unique_by=lambda label: label.key).map(
    lambda items: tuple(sorted(items, key=lambda label: label.key))
)


@given(st.integers(0, 2**32 - 1).map(Identity), label_sets)
def test_what_is_written_reads_the_same(number: Identity, items: tuple[Label, ...]) -> None:
    value = SecurityIdentity(number, items)
    assert decode(*encode(value)) == value


@given(label_sets, st.randoms(use_true_random=False))
def test_the_text_does_not_depend_on_the_order(items: tuple[Label, ...], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert labels_text(shuffled) == labels_text(items)


def test_labels_are_sorted_by_key_alone() -> None:
    text = labels_text([Label("k8s", "b"), Label("any", "c", "1"), Label("unspec", "a", "z")])
    assert text == "unspec:a=z;k8s:b=;any:c=1;"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("k8s:app=web", Label("k8s", "app", "web")),
        ("k8s:a=x=y", Label("k8s", "a", "x=y")),
        ("k8s:b=u:v", Label("k8s", "b", "u:v")),
        ("k8s:c=", Label("k8s", "c")),
        ("k8s:c", Label("k8s", "c")),
        ("cidr:10.0.0.0/8=", Label("cidr", "10.0.0.0/8")),
        ("a=b", Label("unspec", "a", "b")),
        (":a=b", Label("unspec", "a", "b")),
        ("$host", Label("reserved", "host")),
        ("reserved.host", Label("reserved", "host")),
        ("reserved:=host", Label("reserved", "host")),
    ],
)
def test_items_are_read_as_the_field_reads_them(text: str, label: Label) -> None:
    assert parse_label(text) == label


def test_items_without_a_key_are_dropped() -> None:
    assert parse_labels(";;k8s:=x;k8s:a=1") == (Label("k8s", "a", "1"),)


@given(st.text())
def test_every_text_is_some_labels(text: str) -> None:
    assert all(label.key for label in parse_labels(text))


@pytest.mark.parametrize(
    "key", ["", "x", "-1", "1.0", "0x10", "01", "4294967296", "9" * 5000, "\u0661", "1/2", " 1"]
)
def test_a_key_that_is_no_number_is_refused(key: str) -> None:
    with pytest.raises(DecodeError):
        decode(key, b"k8s:a=b;")


@pytest.mark.parametrize("value", [b"\xff", b"k8s:a=\xc3;", b"a" * (MAX_VALUE_BYTES + 1)])
def test_labels_that_are_no_text_are_refused(value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode("65536", value)


@pytest.mark.parametrize(
    "label", [Label("k8s", "a", "x;y"), Label("k8s", "a=b"), Label("k:8", "a"), Label("k8s", "")]
)
def test_a_label_that_would_read_as_another_is_not_written(label: Label) -> None:
    with pytest.raises(MeshError):
        encode(SecurityIdentity(OWN, (label,)))


def test_an_identity_of_the_peer_is_admitted() -> None:
    value = SecurityIdentity(OWN, (Label("k8s", "app", "web"), CLUSTER))
    assert admit(value, SCOPE) is value


@pytest.mark.parametrize(
    ("number", "items"),
    [
        (OWN - 1, (CLUSTER,)),
        (OWN + 65536, (CLUSTER,)),
        (6, (CLUSTER,)),
        (1 << 24, (CLUSTER,)),
        (OWN, ()),
        (OWN, (Label("k8s", "app", "web"),)),
        (OWN, (Label("k8s", CLUSTER.key, "east"),)),
        (OWN, (Label("any", CLUSTER.key, "west"),)),
        (OWN, (Label("k8s", CLUSTER.key, "east"), CLUSTER)),
    ],
)
def test_what_is_not_the_peers_is_refused(number: int, items: tuple[Label, ...]) -> None:
    with pytest.raises(DecodeError):
        admit(SecurityIdentity(Identity(number), items), SCOPE)


def test_reserved_identities_have_labels_of_their_own() -> None:
    assert reserved_labels(1) == (Label("reserved", "host"),)
    assert reserved_labels(7) == (Label("reserved", "kube-apiserver"), Label("reserved", "remote-node"))
    assert reserved_labels(65536) == ()
