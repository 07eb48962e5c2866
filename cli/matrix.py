"""All clusters' views of all others in one picture: who reads whom, and how well. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cli import cause
from cli.check import Check
from cli.statusview import MeshStatus, as_json


class State(Enum):
    """One cluster as another one sees it."""

    ITSELF = "itself"
    READY = "ready"
    WAITING = "waiting"
    BROKEN = "broken"
    ABSENT = "absent"  # not configured there: it does not read that cluster
    UNASKED = "unasked"  # the reading cluster's API server does not answer


MARKS = {
    State.ITSELF: "·",
    State.READY: "✓",
    State.WAITING: "…",
    State.BROKEN: "✗",
    State.ABSENT: "-",
    State.UNASKED: "?",
}
_IN_TIME = {Check.SYNCING, Check.PEER_UNKNOWN}


@dataclass(frozen=True, slots=True)
class Cell:
    """`check` says why it is not ready; the round trip is 0 where nobody measured it."""

    state: State
    check: Check | None = None
    round_trip_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One cluster's view. `status` None: `error` says why it could not be asked."""

    name: str
    status: MeshStatus | None = None
    error: str = ""

    @property
    def is_ready(self) -> bool:
        return self.status is not None and self.status.is_ready


def cells(rows: Sequence[Row]) -> dict[str, dict[str, Cell]]:
    """Reader -> peer -> how it is. Peers that were not asked themselves have columns too."""
    return {row.name: {name: _cell(row, name) for name in columns(rows)} for row in rows}


def columns(rows: Sequence[Row]) -> list[str]:
    peers = {peer for row in rows if row.status for peer in row.status.peers}
    return sorted(peers | {row.name for row in rows})


def as_text(rows: Sequence[Row]) -> str:
    """A table with a legend below, then every cause."""
    table, names = cells(rows), columns(rows)
    shown = {row.name: [_shown(table[row.name][name]) for name in names] for row in rows}
    first = max(len(name) for name in shown)
    widths = [max(len(name), *(len(line[i]) for line in shown.values())) for i, name in enumerate(names)]
    lines = [_line("", names, first, widths)]
    lines += [_line(name, line, first, widths) for name, line in shown.items()]
    lines += ["", "  ".join(f"{mark} {state.value}" for state, mark in MARKS.items()), ""]
    for row in rows:
        lines += _about(row)
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def as_object(rows: Sequence[Row]) -> dict[str, object]:
    return {
        "clusters": {row.name: as_json(row.status) if row.status else {"error": row.error} for row in rows},
        "matrix": {
            reader: {peer: _object(cell) for peer, cell in line.items()}
            for reader, line in cells(rows).items()
        },
        "ready": all(row.is_ready for row in rows),
    }


def _cell(row: Row, name: str) -> Cell:
    if name == row.name:
        return Cell(State.ITSELF)
    if row.status is None:
        return Cell(State.UNASKED, Check.NOT_ASKED)
    found = row.status.peers.get(name)
    if found is None:
        return Cell(State.ABSENT)
    checks = [each.check for each in row.status.causes if each.peer == name]
    broken = next((check for check in checks if check not in _IN_TIME), None)
    trip = found.round_trip_ms
    if broken is not None:
        return Cell(State.BROKEN, broken, trip)
    return Cell(State.WAITING, checks[0], trip) if checks else Cell(State.READY, None, trip)


def _about(row: Row) -> list[str]:
    if row.status is None:
        return [f"{row.name}: ❌ {row.error}"]
    found = [f"{row.name}: ❌ {text}" for text in row.status.missing]
    return found + [f"{row.name}: {line}" for line in cause.lines(row.status.causes)]


def _shown(cell: Cell) -> str:
    mark = MARKS[cell.state]
    if cell.state is State.READY and cell.round_trip_ms:
        return f"{mark} {cell.round_trip_ms:.1f} ms"
    return f"{mark} {cell.check.label}" if cell.check and cell.state is not State.UNASKED else mark


def _line(name: str, cells_: Sequence[str], first: int, widths: Sequence[int]) -> str:
    padded = (f"{text:<{width}}" for text, width in zip(cells_, widths, strict=True))
    return f"{name:<{first}}  " + "  ".join(padded)


def _object(cell: Cell) -> dict[str, object]:
    return {
        "state": cell.state.value,
        "check": cell.check.label if cell.check else "",
        "round_trip_ms": cell.round_trip_ms,
    }
