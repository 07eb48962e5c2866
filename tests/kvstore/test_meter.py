from __future__ import annotations

import pytest

from kvstore.meter import Meter, scope_of


@pytest.mark.parametrize(
    ("key", "scope"),
    [
        (b"cilium/state/ip/v1/default/10.0.0.1", "ip/v1"),
        (b"cilium/cache/identities/v1/east/id/7", "identities/v1"),
        (b"cilium/synced/east/cilium/state/ip/v1", "east/cilium"),  # as odd as Cilium's
        (b"cilium/cluster-config/east", "cilium/clust"),
        (b"cilium/.heartbeat", "cilium/.hear"),
        (b"short", "short"),
        (b"cilium/state/\xff/v1/x", "\\xff/v1"),
    ],
)
def test_scopes_are_ciliums(key: bytes, scope: str) -> None:
    assert scope_of(key) == scope


def test_a_histogram_is_kept_for_the_next_connection() -> None:
    meter = Meter()
    first = meter.propagation(b"cilium/state/ip/v1/default/", "east")
    assert meter.propagation(b"cilium/state/ip/v1/default/", "east") is first
    assert meter.propagation(b"cilium/state/ip/v1/default/", "west") is not first
    assert set(meter.propagations) == {("ip/v1", "east"), ("ip/v1", "west")}
