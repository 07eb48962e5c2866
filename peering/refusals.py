"""What we would not take from a peer: counted by reason, logged once per reason. Pure.

Reasons come from peers' data, so their number is bounded: a peer cannot fill our memory or our log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

MAX_REASONS = 32  # further ones are counted together
MAX_REASON_LENGTH = 160
OTHER = "other"

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"\d+(?:[.:/]\d+)*")


class Refusals:
    """Counts per reason. A reason is a message without its particulars, so that equal faults add up."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        return MappingProxyType(self._counts)

    def add(self, message: str) -> str | None:
        """Count one refusal; its reason when it is the first of that kind (then it is worth a log line)."""
        reason = reason_of(message)
        if reason not in self._counts and len(self._counts) >= MAX_REASONS:
            reason = OTHER
        first = reason not in self._counts
        self._counts[reason] = self._counts.get(reason, 0) + 1
        return reason if first else None


def reason_of(message: str) -> str:
    """`message` without names, numbers and addresses."""
    plain = _NUMBER.sub("N", _QUOTED.sub("…", message))
    return plain[:MAX_REASON_LENGTH]
