"""How full the maps are, in words."""

from __future__ import annotations

import pytest

from agent import metrics, status

IPCACHE, LB = "cilium_ipcache_v2", "cilium_lb4_backends_v3"


@pytest.mark.parametrize(
    ("pressure", "unfit", "state", "words"),
    [
        ({}, {}, "Ok", ""),
        ({IPCACHE: 0.5, LB: 0.25}, {IPCACHE: 0}, "Ok", f"fullest: {IPCACHE}, 50.0%"),
        ({IPCACHE: 0.95}, {}, "Warning", f"fullest: {IPCACHE}, 95.0%"),
        (
            {IPCACHE: 1.2, LB: 0.1},
            {IPCACHE: 3, LB: 0},
            "Warning",
            f"{IPCACHE} has no room for 3 entries; fullest: {IPCACHE}, 120.0%",
        ),
    ],
)
def test_what_has_no_room_is_said(
    pressure: dict[str, float], unfit: dict[str, int], state: str, words: str
) -> None:
    said = status.maps(pressure, unfit)
    assert (said["state"], said["msg"]) == (state, words)
    assert [each["name"] for each in said["maps"]] == sorted({*pressure, *unfit})


def test_what_has_no_room_is_a_metric() -> None:
    assert metrics.map_unfit({IPCACHE: 3}) == {f'clustermesh_bpf_map_unfit{{map_name="{IPCACHE}"}}': 3}
