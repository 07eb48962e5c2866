"""What came of changes that were sent at some time and arrived at another. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.figure import percentile

STEP = 100_000_000  # nanoseconds between two looks at the queue
Sent = Mapping[str, tuple[int, int]]  # name -> sent, stored by etcd
Arrived = Mapping[str, tuple[int, int]]  # name -> heard of, in the kernel


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run; milliseconds. `backlog`: changes under way at each step."""

    total: list[float]
    stored: list[float]
    heard: list[float]
    written: list[float]
    missing: int
    backlog: list[int]

    @property
    def growth(self) -> float:
        """Mean backlog of the last quarter less that of the second: a queue that grows shows here."""
        quarter = len(self.backlog) // 4
        if not quarter:
            return 0.0
        return _mean(self.backlog[-quarter:]) - _mean(self.backlog[quarter : 2 * quarter])

    @property
    def by_second(self) -> list[float]:
        """Mean backlog of each second."""
        steps = 1_000_000_000 // STEP
        return [_mean(self.backlog[at : at + steps]) for at in range(0, len(self.backlog), steps)]

    def percentiles(self) -> tuple[float, float]:
        return percentile(self.total, 50), percentile(self.total, 99)


def outcome(sent: Sent, arrived: Arrived) -> Outcome:
    both = [(*sent[name], *arrived[name]) for name in sent if name in arrived]
    return Outcome(
        total=[(kernel - put) / 1e6 for put, _, _, kernel in both],
        stored=[(stored - put) / 1e6 for put, stored, _, _ in both],
        heard=[(heard - put) / 1e6 for put, _, heard, _ in both],
        written=[(kernel - heard) / 1e6 for _, _, heard, kernel in both],
        missing=len(sent) - len(both),
        backlog=_backlog([put for put, *_ in both], [kernel for *_, kernel in both]),
    )


def _backlog(sent: Sequence[int], arrived: Sequence[int]) -> list[int]:
    """While something is being sent: afterwards there is nothing to fall behind."""
    if not sent:
        return []
    starts, ends = sorted(sent), sorted(arrived)
    found, started, ended = list[int](), 0, 0
    for now in range(starts[0] + STEP, starts[-1], STEP):
        while started < len(starts) and starts[started] <= now:
            started += 1
        while ended < len(ends) and ends[ended] <= now:
            ended += 1
        found.append(started - ended)
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
