"""Label and field selectors against a plain reading of their rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.api.selectors import selection
from lab.api.status import StatusError

KEYS = st.sampled_from(["app", "k8s.io/name", "x-y"])
VALUES = st.sampled_from(["web", "db", "v1.2", ""])
LABELS = st.dictionaries(KEYS, VALUES)
CHOICES = st.lists(VALUES, min_size=1, max_size=3)


def matches(selector: str, labels: dict[str, str]) -> bool:
    test = selection("Pod", selector, "")
    assert test is not None
    return test({"metadata": {"labels": labels}})


@given(LABELS, KEYS, VALUES)
def test_equality_and_inequality_are_opposites_and_absence_is_unequal(
    labels: dict[str, str], key: str, value: str
) -> None:
    equal = labels.get(key) == value
    assert matches(f"{key}={value}", labels) is equal
    assert matches(f"{key} == {value}", labels) is equal
    assert matches(f"{key}!={value}", labels) is not equal


@given(LABELS, KEYS, CHOICES)
def test_sets_contain_or_do_not(labels: dict[str, str], key: str, values: list[str]) -> None:
    inside = labels.get(key) in values
    assert matches(f"{key} in ({','.join(values)})", labels) is inside
    assert matches(f"{key} notin ({', '.join(values)})", labels) is not inside


@given(LABELS, KEYS)
def test_existence_and_its_opposite(labels: dict[str, str], key: str) -> None:
    assert matches(key, labels) is (key in labels)
    assert matches(f"!{key}", labels) is (key not in labels)


@given(LABELS, KEYS, VALUES, KEYS, CHOICES)
def test_requirements_are_all_needed(
    labels: dict[str, str], key: str, value: str, other: str, values: list[str]
) -> None:
    first, second = f"{key}={value}", f"{other} in ({','.join(values)})"
    both = matches(first, labels) and matches(second, labels)
    assert matches(f"{first},{second}", labels) is both
    assert matches(f"{second}, {first}", labels) is both


@pytest.mark.parametrize(("selector", "expected"), [("age>3", True), ("age<3", False), ("age>5", False)])
def test_numbers_compare_as_numbers(selector: str, expected: bool) -> None:
    assert matches(selector, {"age": "5"}) is expected
    assert matches(selector, {"age": "young"}) is False


@pytest.mark.parametrize("selector", ["=a", "a=b=c", "in (a)", "a in b", "a>x", "a b"])
def test_nonsense_is_refused(selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        selection("Pod", selector, "")
    assert refused.value.code == 400


def test_fields_are_read_by_path_and_unknown_ones_refused() -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"nodeName": "n1", "hostNetwork": True}}
    for selector, expected in (
        ("spec.nodeName=n1,metadata.name=a", True),
        ("spec.nodeName!=n1", False),
        ("status.phase=", True),
        ("spec.hostNetwork=true", True),
    ):
        test = selection("Pod", "", selector)
        assert test is not None
        assert test(pod) is expected
    with pytest.raises(StatusError):
        selection("ConfigMap", "", "spec.nodeName=n1")
