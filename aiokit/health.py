"""What a long-lived part says of itself: one frozen value that health, CLI and metrics read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "degraded"]


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """`since` is when the level last changed, in seconds of the epoch."""

    level: Level
    text: str
    error: str
    since: float


class Health:
    """Starts degraded: a part is not healthy before it says so."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._status = HealthStatus("degraded", "starting", "", now())

    def ok(self, text: str) -> None:
        self._set("ok", text, "")

    def degraded(self, text: str, error: object = "") -> None:
        self._set("degraded", text, str(error))

    def status(self) -> HealthStatus:
        return self._status

    def _set(self, level: Level, text: str, error: str) -> None:
        since = self._status.since if level == self._status.level else self._now()
        self._status = HealthStatus(level, text, error, since)
