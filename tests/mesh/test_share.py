"""Clusters' shares where a list has no groups: each backend's own part of them."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.matching import Backend
from mesh.share import MAX_SPREAD, spread

CLUSTERS = st.dictionaries(
    st.integers(0, 4), st.tuples(st.integers(1, 30), st.integers(1, 40)), min_size=1, max_size=4
)


def backends(clusters: dict[int, tuple[int, int]]) -> list[Backend]:
    """Cluster -> how many it has, and its share."""
    return [
        Backend(f"10.{cluster}.{n // 250}.{n % 250}", 80, "TCP", cluster, share)
        for cluster, (count, share) in sorted(clusters.items())
        for n in range(count)
    ]


def slots(found: tuple[Backend, ...]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for backend in found:
        counts[backend.cluster_id] += backend.weight
    return counts


@given(CLUSTERS)
def test_each_cluster_gets_its_share_of_slots_and_all_its_backends_the_same(
    clusters: dict[int, tuple[int, int]],
) -> None:
    told = backends(clusters)
    found = spread(told)
    assert [each._replace(weight=0) for each in found] == [each._replace(weight=0) for each in told]
    assert all(len({b.weight for b in found if b.cluster_id == cluster}) == 1 for cluster in clusters)
    counts, shares = slots(found), sum(share for _, share in clusters.values())
    assert counts.total() <= 2 * max(MAX_SPREAD, 2 * len(told))
    for cluster, (_, share) in clusters.items():
        assert abs(Fraction(counts[cluster], counts.total()) - Fraction(share, shares)) < 0.06


@pytest.mark.parametrize(
    ("clusters", "weights"),
    [
        ({0: (3, 4), 2: (7, 1)}, {0: 28, 2: 3}),
        ({0: (2, 1), 2: (2, 1)}, {0: 1, 2: 1}),
        ({0: (10_000, 1), 2: (1, 1)}, {0: 1, 2: 10_000}),
        ({0: (5, 0), 2: (1, 0)}, {0: 0, 2: 0}),  # nobody has a share
        ({}, {}),
    ],
)
def test_small_lists_are_exact(clusters: dict[int, tuple[int, int]], weights: dict[int, int]) -> None:
    found = spread(backends(clusters))
    assert {backend.cluster_id: backend.weight for backend in found} == weights
