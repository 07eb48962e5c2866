from __future__ import annotations

import pytest

from kvstore.clusterguard import ClusterGuard
from kvstore.errors import ClusterChangedError
from kvstore.messages import RangeResponse, ResponseHeader


def test_the_first_cluster_seen_is_the_only_one_accepted() -> None:
    guard = ClusterGuard()
    assert guard.cluster_id == 0
    guard.check(ResponseHeader(cluster_id=0xA))
    guard.check(ResponseHeader(cluster_id=0xA))

    assert guard.cluster_id == 0xA
    with pytest.raises(ClusterChangedError, match="cluster b, not a"):
        guard.check(ResponseHeader(cluster_id=0xB))


def test_an_answer_without_a_header_is_refused_even_first() -> None:
    with pytest.raises(ClusterChangedError, match="no etcd cluster id"):
        ClusterGuard().check(RangeResponse().header)
