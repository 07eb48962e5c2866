"""Cron's five fields, in UTC: minute, hour, day of the month, month, day of the week (0 is Sunday). Pure.

Numbers, lists, ranges, steps and `*`; no names. As cron has it, one of the two days is enough where both
are restricted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@dataclass(frozen=True, slots=True)
class Schedule:
    fields: tuple[frozenset[int], ...]
    any_day: bool  # one of the two day fields is `*`

    def fits(self, moment: datetime) -> bool:
        minutes, hours, days, months, weekdays = self.fields
        day, weekday = moment.day in days, moment.isoweekday() % 7 in weekdays
        if not (moment.minute in minutes and moment.hour in hours and moment.month in months):
            return False
        return (day and weekday) if self.any_day else (day or weekday)

    def latest(self, since: datetime, now: datetime, limit: timedelta = timedelta(days=2)) -> datetime | None:
        """The latest moment after `since` and not after `now`; None when there is none within `limit`."""
        moment = now.replace(second=0, microsecond=0)
        earliest = max(since, now - limit)
        while moment > earliest:
            if self.fits(moment):
                return moment
            moment -= timedelta(minutes=1)
        return None


def parse(text: str) -> Schedule:
    """Raises ValueError."""
    words = text.split()
    if len(words) != len(_BOUNDS):
        raise ValueError(f"schedule {text!r} does not have five fields")
    fields = [frozenset(_field(word, low, high)) for word, (low, high) in zip(words, _BOUNDS, strict=True)]
    fields[4] = frozenset(day % 7 for day in fields[4])
    return Schedule(tuple(fields), words[2].startswith("*") or words[4].startswith("*"))


def _field(word: str, low: int, high: int) -> Iterator[int]:
    for part in word.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("", "", "") if span == "*" else span.partition("-")
        begin = int(first) if first else low
        end = int(last) if last else (high if span == "*" or step else begin)
        if not low <= begin <= end <= high or (step and int(step) < 1):
            raise ValueError(f"schedule field {word!r} is not within {low}-{high}")
        yield from range(begin, end + 1, int(step or 1))
