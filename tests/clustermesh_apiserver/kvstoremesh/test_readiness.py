"""Ready when agents may be sent to the copies."""

from __future__ import annotations

import pytest

from clustermesh_apiserver.kvstoremesh.readiness import Copied, Patience, is_ready

PATIENCE = Patience(per_cluster=15.0, overall=600.0)
STORED = Copied(1.0, True, True)
SLOW = Copied(500.0, True, False)
YOUNG, AWAY = Copied(14.9, False, False), Copied(15.0, False, False)


@pytest.mark.parametrize(
    ("seconds", "remotes", "expected"),
    [
        (1.0, None, False),  # the directory was not read yet
        (1.0, [], True),
        (1.0, [STORED], True),
        (500.0, [STORED, SLOW], False),  # connected once: waited for
        (15.0, [STORED, YOUNG], False),
        (15.0, [STORED, AWAY], True),  # never connected: left out
        (600.0, [SLOW], True),
        (600.0, None, True),
    ],
)
def test_readiness(seconds: float, remotes: list[Copied] | None, expected: bool) -> None:
    assert is_ready(seconds, remotes, PATIENCE) is expected
