"""`clustermesh-dbg verify`: a line for each map, each difference in words, and an exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.dbg.test_dbg import dbg

NONE = {"missing": 0, "extra": 0, "different": 0}


def state(name: str, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"missing": [], "extra": [], "different": [], "counts": NONE, "unfit": []}
    return {"name": name, "wanted": 2, "entries": 2, "moving": 0, **empty, **more}


def answer(*states: dict[str, Any], equal: bool = True, **more: Any) -> dict[str, Any]:
    said = {"equal": equal, "settled": True, "revision": 7, "applied": 7, "errors": {}, "seconds": 0.012}
    return {"/v1/verify": {**said, "maps": list(states), **more}}


async def test_equal_maps_are_a_line_each_and_status_0(tmp_path: Path) -> None:
    result = await dbg(tmp_path, answer(state("cilium_lxc"), state("links")), "verify")
    assert (result.exit_code, result.stdout) == (
        0,
        "MAP          WANTED   ENTRIES   MISSING   EXTRA   DIFFERENT   MOVING\n"
        "cilium_lxc   2        2         0         0       0           0\n"
        "links        2        2         0         0       0           0\n"
        "equal at revision 7, in 0.012 s\n",
    )


async def test_differences_are_named_and_make_status_1(tmp_path: Path) -> None:
    differing = state(
        "cilium_ipcache_v2",
        missing=[{"key": "10.2.1.5/32", "value": "identity=1"}],
        extra=[{"key": "10.2.1.6/32", "value": "identity=2"}],
        different=[{"key": "10.2.1.7/32", "value": "identity=3", "wanted": "identity=4"}],
        counts={"missing": 5, "extra": 1, "different": 1},
        unfit=[{"key": "no address", "reason": "not an IP address"}],
        moving=3,
    )
    answers = answer(differing, equal=False, settled=False, errors={"ipcache": "it is full"})
    result = await dbg(tmp_path, answers, "verify")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[2:] == [
        "cilium_ipcache_v2  missing    10.2.1.5/32   identity=1",
        "cilium_ipcache_v2  extra      10.2.1.6/32   identity=2",
        "cilium_ipcache_v2  different  10.2.1.7/32   identity=3   (wanted: identity=4)",
        "cilium_ipcache_v2  ... and 4 more",
        "cilium_ipcache_v2  unfit      no address   not an IP address",
        "ipcache: the agent cannot write: it is full",
        "different at revision 7, in 0.012 s; entries that moved all the time were left out",
    ]
    assert (await dbg(tmp_path, answers, "verify", "-o", "json")).exit_code == 1


async def test_json_is_what_the_agent_sent(tmp_path: Path) -> None:
    answers = answer(state("links"))
    result = await dbg(tmp_path, answers, "verify", "-o", "json")
    assert (result.exit_code, msgspec.json.decode(result.stdout)) == (0, answers["/v1/verify"])


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<"])
async def test_an_answer_that_is_not_understood_is_an_error(body: bytes, tmp_path: Path) -> None:
    result = await dbg(tmp_path, {"/v1/verify": body}, "verify")
    assert result.exit_code == 1
    assert "is not understood" in result.stderr
