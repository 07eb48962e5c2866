"""Several clusters in one picture: who reads whom, how well, and why not."""

from __future__ import annotations

from dataclasses import replace

from cli.check import Check
from cli.facts import Address, ClusterFacts
from cli.matrix import Row, State, as_object, as_text, cells
from cli.meshstatus import summed
from cli.statusview import MeshStatus, progress
from cli.target import Target
from tests.cli.test_meshstatus import DOWN, READY, SYNCING, view


def row(name: str, *bodies: bytes, peers: tuple[str, ...]) -> Row:
    facts = ClusterFacts(
        Target(context=name), name, service_type="LoadBalancer", addresses=(Address("192.0.2.1", 2379),)
    )
    return Row(name, MeshStatus(facts, (), summed([view(body) for body in bodies], peers)))


def named(body: bytes, name: str) -> bytes:
    return body.replace(b'"west"', f'"{name}"'.encode())


TIMED = READY.replace(b'"digests"', b'"round-trip-ms":1.234,"digests"')
EAST = row("east", TIMED, peers=("west",))
WEST = row("west", named(DOWN, "east"), peers=("east",))
NORTH = Row("north", error="no API server answers")


def test_each_cell_is_one_cluster_as_another_sees_it() -> None:
    found = cells([EAST, WEST, NORTH])
    assert found["east"]["east"].state is State.ITSELF
    assert found["east"]["west"].state is State.READY
    assert found["west"]["east"].check is Check.PEER_DOWN
    assert found["east"]["north"].state is State.ABSENT
    assert found["north"]["east"].state is State.UNASKED


def test_the_picture_has_a_line_for_each_reader_and_every_cause_below() -> None:
    lines = as_text([EAST, WEST, NORTH]).splitlines()
    assert lines[0].split() == ["east", "north", "west"]
    assert lines[1].startswith("east   ·")
    assert "✓ 1.2 ms" in lines[1]
    assert "✗ peer-down" in lines[2]
    assert lines[3].split() == ["north", "?", "·", "?"]
    assert any(line.startswith("west: 🩺 east:") for line in lines)
    assert "north: ❌ no API server answers" in lines
    assert not any(line.endswith(" ") for line in lines)


def test_what_only_takes_time_is_not_broken() -> None:
    found = cells([row("east", SYNCING, peers=("west",))])
    assert (found["east"]["west"].state, found["east"]["west"].check) == (State.WAITING, Check.SYNCING)


def test_the_object_is_ready_only_when_every_cluster_is() -> None:
    found = as_object([EAST, WEST])
    assert found["ready"] is False
    assert as_object([EAST])["ready"] is True
    assert found["matrix"] == {
        "east": {
            "east": {"state": "itself", "check": "", "round_trip_ms": 0.0},
            "west": {"state": "ready", "check": "", "round_trip_ms": 1.234},
        },
        "west": {
            "east": {"state": "broken", "check": "peer-down", "round_trip_ms": 0.0},
            "west": {"state": "itself", "check": "", "round_trip_ms": 0.0},
        },
    }


def test_progress_says_what_is_still_waited_for() -> None:
    status = row("east", READY, SYNCING, peers=("west",)).status
    assert status is not None
    assert progress(status) == "west: 1/2 agents ready; syncing (west)"
    later = replace(status, missing=("Deployment clustermesh-apiserver: 0 of 1 ready",))
    assert progress(later).startswith("Deployment clustermesh-apiserver: 0 of 1 ready; west")
    assert EAST.status is not None
    assert progress(EAST.status) == "ready"
