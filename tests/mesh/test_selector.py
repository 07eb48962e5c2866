from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PolicyError
from mesh.identity import Label, parse_labels
from mesh.selector import Requirement, Selector, parse_selector

WEB = parse_labels("k8s:app=web;k8s:tier=;reserved:host=;any:x=1;k8s:io.kubernetes.pod.namespace=shop;")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"matchLabels": None, "matchExpressions": None},
        {"matchLabels": {"app": "web", "k8s:tier": ""}},
        {"matchLabels": {"any:app": "web"}},
        {"matchLabels": {"reserved:host": ""}},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["api", "web"]}]},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["api"]}]},
        {"matchExpressions": [{"key": "absent", "operator": "NotIn", "values": ["api"]}]},
        {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "absent", "operator": "DoesNotExist", "values": []}]},
    ],
)
def test_what_a_selector_selects(said: dict[str, Any]) -> None:
    assert parse_selector(said).matches(WEB)


@pytest.mark.parametrize(
    "said",
    [
        {"matchLabels": {"app": "api"}},
        {"matchLabels": {"any:app": "web", "absent": ""}},
        {"matchLabels": {"container:app": "web"}},
        {"matchLabels": {"k8s:host": ""}},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["api"]}]},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
        {"matchExpressions": [{"key": "absent", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
    ],
)
def test_what_it_does_not(said: dict[str, Any]) -> None:
    assert not parse_selector(said).matches(WEB)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"matchLabels": []},
        {"matchLabels": {"a": 1}},
        {"matchExpressions": {}},
        {"matchExpressions": ["a"]},
        {"matchExpressions": [{"operator": "Exists"}]},
        {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]},
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        {"matchExpressions": [{"key": "a", "operator": "In", "values": "x"}]},
        {"matchExpressions": [{"key": "a", "operator": "In", "values": [1]}]},
        {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]},
    ],
)
def test_what_is_no_selector_is_refused(said: object) -> None:
    with pytest.raises(PolicyError):
        parse_selector(said)


labels = st.lists(
    st.builds(
        Label, st.sampled_from(["k8s", "any"]), st.sampled_from(["a", "b"]), st.sampled_from(["", "1", "2"])
    ),
    max_size=3,
).map(tuple)
values = st.frozensets(st.sampled_from(["", "1", "2"]), min_size=1)
sources = st.sampled_from(["any", "k8s"])


@given(labels, sources, values)
def test_not_in_is_the_opposite_of_in(
    given_labels: tuple[Label, ...], source: str, wanted: frozenset[str]
) -> None:
    one, other = (Requirement(source, "a", operator, wanted) for operator in ("In", "NotIn"))
    assert one.matches(given_labels) != other.matches(given_labels)


@given(labels, sources)
def test_does_not_exist_is_the_opposite_of_exists(given_labels: tuple[Label, ...], source: str) -> None:
    one, other = (Requirement(source, "a", operator) for operator in ("Exists", "DoesNotExist"))
    assert one.matches(given_labels) != other.matches(given_labels)


def test_a_forced_label_replaces_what_was_asked() -> None:
    selector = parse_selector({"matchLabels": {"any:io.kubernetes.pod.namespace": "other"}})
    assert selector.with_label("io.kubernetes.pod.namespace", "shop").matches(WEB)
    assert not selector.matches(WEB)


def test_a_selector_knows_what_it_names() -> None:
    assert parse_selector({"matchLabels": {"k8s:io.cilium.k8s.policy.cluster": "x"}}).names_cluster
    assert parse_selector({"matchLabels": {"io.kubernetes.pod.namespace": "x"}}).names_namespace
    assert parse_selector({"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.team": "x"}}).names_namespace
    assert parse_selector({"matchLabels": {"reserved:host": ""}}).is_reserved
    assert not any((Selector().names_cluster, Selector().names_namespace, Selector().is_reserved))


def test_all_namespaces_are_those_of_pods_and_nobody_outside_has_one() -> None:
    everywhere = parse_selector({}).in_namespaces(parse_selector({}))
    assert everywhere.matches(WEB)
    assert not everywhere.matches(parse_labels("reserved:world=;"))
    assert not everywhere.matches(parse_labels("cidr:192.0.2.0/24=;reserved:world=;"))
