"""What annotations say; what cannot be read says nothing and is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import preference
from mesh.preference import Affinity, Preference, read

GLOBAL = {"service.cilium.io/global": "true"}
OURS = "service.clustermesh.io"


def said(**annotations: str) -> Preference:
    return read(GLOBAL | {f"{OURS}/{name.replace('_', '-')}": text for name, text in annotations.items()})


def test_a_service_that_is_not_global_has_no_preference() -> None:
    assert read({f"{OURS}/weights": "local=1", "service.cilium.io/affinity": "local"}) == Preference()


def test_weights_are_read_by_cluster() -> None:
    assert said(weights=" local=80, west = 20,*=0").weights == {"local": 80, "west": 20, "*": 0}


@pytest.mark.parametrize(
    "text", ["80", "west", "west=", "=1", "west=-1", "west=1001", "a=1,a=2", "west=٣", ","]
)
def test_weights_that_cannot_be_read_say_nothing_and_are_named(text: str) -> None:
    found = said(weights=text)
    assert found.weights is None
    assert found.problems[0].startswith(f"{OURS}/weights: ")


def test_the_order_is_a_list_of_different_names() -> None:
    assert said(cluster_preference="local, west,*").order == ("local", "west", "*")
    for text in ("west,west", "west,,east", ","):
        assert said(cluster_preference=text).order is None
        assert said(cluster_preference=text).problems


def test_a_minimum_makes_a_service_stay_at_home_unless_it_says_otherwise() -> None:
    assert said(minimum_local_backends="3") == Preference(True, Affinity.LOCAL, 3)
    remote = GLOBAL | {f"{OURS}/minimum-local-backends": "3", "service.cilium.io/affinity": "Remote"}
    assert read(remote) == Preference(True, Affinity.REMOTE, 3)
    for text in ("0", "-1", "many", "65536", "9" * 5000):
        assert said(minimum_local_backends=text).minimum == 1
        assert said(minimum_local_backends=text).problems


def test_an_unknown_affinity_is_none_and_is_named() -> None:
    found = read(GLOBAL | {"service.cilium.io/affinity": "far"})
    assert (found.affinity, bool(found.problems)) == (Affinity.NONE, True)


NAMES = [
    *preference.GLOBAL,
    *preference.AFFINITY,
    *preference.WEIGHTS,
    *preference.MINIMUM,
    *preference.ORDER,
]


TEXTS = st.text("ab=,* 01-\u0663", max_size=8) | st.sampled_from(["true", "a=1", "a,b"])


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS))
def test_no_text_is_an_error(annotations: dict[str, str]) -> None:
    found = read(annotations)
    assert found.minimum >= 1
    assert all(0 <= weight <= preference.MAX_WEIGHT for weight in (found.weights or {}).values())
