from __future__ import annotations

import pytest

from mesh.addressing import FIRST_ALLOCATED, ClusterName, Identity, ReservedIdentity
from mesh.errors import MeshError
from mesh.identity import Label, Labels, labels_text, parse_labels, reserved_labels
from mesh.wellknown import FIXED_LABEL, Unallocated, parse_fixed, well_known

EAST = ClusterName("east")
KNOWN = well_known(EAST)
NUMBERS = Unallocated(KNOWN, {Identity(128): "kv-store", Identity(255): "edge"})
CORE_DNS = (
    "k8s:io.cilium.k8s.policy.cluster=east;k8s:io.cilium.k8s.policy.serviceaccount=coredns;"
    "k8s:io.kubernetes.pod.namespace=kube-system;k8s:k8s-app=kube-dns;"
)


def test_the_well_known_ones_are_16_numbers_and_16_label_sets() -> None:
    assert sorted(KNOWN) == list(range(100, 116))
    assert len(set(KNOWN.values())) == 16


def test_a_label_set_is_the_one_that_a_pod_has() -> None:
    assert labels_text(KNOWN[Identity(104)]) == CORE_DNS
    name = "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system;"
    assert labels_text(KNOWN[Identity(112)]) == name + CORE_DNS


def test_components_of_cilium_are_where_cilium_is() -> None:
    elsewhere = well_known(EAST, "cilium")
    moved = {number for number, labels in KNOWN.items() if elsewhere[number] != labels}
    assert moved == {100, 101, 105, 107, 108, 109, 113, 115}
    assert Label("k8s", "io.kubernetes.pod.namespace", "cilium") in elsewhere[Identity(113)]


@pytest.mark.parametrize("number", [*range(1, 15), *range(100, 116), 128, 255])
def test_number_and_labels_belong_to_each_other(number: int) -> None:
    labels = NUMBERS.labels(number)
    assert labels
    if number < 128:
        assert NUMBERS.identity(parse_labels(labels_text(labels))) == number


@pytest.mark.parametrize("number", [15, 99, 116, 127, 129, 254, FIRST_ALLOCATED, 65536])
def test_other_numbers_mean_nothing(number: int) -> None:
    assert NUMBERS.labels(number) == ()


def test_a_fixed_one_is_chosen_by_its_label_alone() -> None:
    pod = (Label("k8s", "app", "x"), Label("k8s", FIXED_LABEL, "edge"))
    assert NUMBERS.identity(pod) == 255
    assert NUMBERS.labels(255) == (Label("reserved", "edge"),)
    assert Unallocated().identity(pod) is None


@pytest.mark.parametrize(
    "labels",
    [
        (),
        parse_labels(CORE_DNS + "k8s:pod-template-hash=1;"),
        parse_labels(CORE_DNS.replace("east", "west")),
        parse_labels(CORE_DNS.replace("k8s-app=kube-dns;", "")),
        (*reserved_labels(ReservedIdentity.HOST), *reserved_labels(ReservedIdentity.INGRESS)),
        (Label("reserved", "edge"),),
        (Label("reserved", "unknown"),),
    ],
)
def test_other_label_sets_are_allocated_a_number(labels: Labels) -> None:
    assert NUMBERS.identity(labels) is None


def test_who_does_not_use_well_known_ones_allocates() -> None:
    assert Unallocated().identity(parse_labels(CORE_DNS)) is None
    assert Unallocated().labels(104) == ()


def test_the_mapping_of_fixed_ones_is_read_from_text() -> None:
    assert parse_fixed("128=kv-store,255=edge") == NUMBERS.fixed
    assert parse_fixed("") == {}


@pytest.mark.parametrize("text", ["127=x", "256=x", "128", "128=", "=x", "x=1", "1e2=x", "٢٠٠=x", "9999=x"])
def test_a_mapping_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MeshError, match="fixed identity"):
        parse_fixed(text)
