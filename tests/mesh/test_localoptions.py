"""What a Service says of load-balancing at home, read as Cilium reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import localoptions
from mesh.localoptions import (
    ALGORITHM,
    NODE,
    NODE_SELECTOR,
    SOURCE_RANGES_POLICY,
    TYPE,
    Algorithm,
    Kind,
    algorithm,
    denies_ranges,
    hangs_on_node,
    has,
    is_for,
    problems,
)

NAMES = (ALGORITHM, NODE, NODE_SELECTOR, TYPE, SOURCE_RANGES_POLICY)
WORDS = ("", "maglev", "Random", "DENY", "allow", "NodePort", "nodeport", "front", "a in (b)", "a=b", "((")
TEXTS = st.text(max_size=8) | st.sampled_from(WORDS)
LABELS = st.dictionaries(st.sampled_from([NODE, "a", "c"]), st.sampled_from(["", "b", "front"]))


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), LABELS)
def test_whatever_is_written_something_is_read_and_what_counts_for_nothing_is_named(
    annotations: dict[str, str], labels: dict[str, str]
) -> None:
    named = {text.partition(": ")[0] for text in problems(annotations)}
    assert named <= annotations.keys() - {NODE}
    kinds = [kind for kind in Kind if has(annotations, kind)]
    assert len(kinds) == (1 if TYPE in annotations.keys() - named else len(Kind))
    assert (algorithm(annotations) is Algorithm.DEFAULT) is (ALGORITHM not in annotations.keys() - named)
    assert not denies_ranges(annotations) or SOURCE_RANGES_POLICY not in named
    without = {name: text for name, text in annotations.items() if name not in named}
    assert (denies_ranges(without), algorithm(without)) == (
        denies_ranges(annotations),
        algorithm(annotations),
    )
    assert hangs_on_node(annotations) or is_for(annotations, labels)
    assert NODE_SELECTOR not in named or is_for(annotations, labels)


@pytest.mark.parametrize(
    ("annotations", "labels", "verdict"),
    [
        ({}, {}, True),
        ({NODE: "front"}, {NODE: "front"}, True),
        ({NODE: "front"}, {NODE: "back"}, False),
        ({NODE: "front"}, {}, False),
        ({NODE: ""}, {}, False),  # the label must be there
        ({NODE: ""}, {NODE: ""}, True),
        ({NODE_SELECTOR: "zone in (a, b),!old"}, {"zone": "b"}, True),
        ({NODE_SELECTOR: "zone in (a, b),!old"}, {"zone": "b", "old": ""}, False),
        ({NODE_SELECTOR: ""}, {}, True),
        ({NODE_SELECTOR: "zone=a", NODE: "front"}, {"zone": "a"}, True),  # the selector decides alone
        ({NODE_SELECTOR: "zone=a", NODE: "front"}, {NODE: "front"}, False),
        ({NODE_SELECTOR: "((", NODE: "front"}, {}, True),
    ],
)
def test_a_service_is_for_nodes_by_their_labels(
    annotations: dict[str, str], labels: dict[str, str], verdict: bool
) -> None:
    assert is_for(annotations, labels) is verdict


def test_words_are_read_as_cilium_reads_them() -> None:
    assert denies_ranges({SOURCE_RANGES_POLICY: "Deny"})
    assert algorithm({ALGORITHM: "MAGLEV"}) is Algorithm.MAGLEV
    assert localoptions.kind({TYPE: "LoadBalancer"}) is Kind.LOAD_BALANCER
    assert localoptions.kind({TYPE: "loadbalancer"}) is None
    assert problems({TYPE: "ClusterIP,NodePort"}) == (
        f"{TYPE}: 'ClusterIP,NodePort' is none of ClusterIP, NodePort, LoadBalancer",
    )
