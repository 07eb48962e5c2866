"""When a leaf certificate is to be replaced. Pure: the time is passed in.

After two thirds of its life, as certificate tools commonly do: a failed attempt can be made again for
months, with the usual lifetimes. Never for nothing: a leaf cannot outlive its authority, so towards that
one's end a new leaf would bring no time, and what is due is another authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

RENEW_AFTER = 2 / 3  # of the lifetime
LATE_AFTER = 5 / 6  # of the lifetime: half of the time for renewing has passed, somebody must look
MIN_GAIN = 1 / 10  # of the lifetime: what a new certificate must bring at least


@dataclass(frozen=True, slots=True)
class Life:
    """From when until when a certificate is valid."""

    begins: datetime
    ends: datetime

    @property
    def length(self) -> timedelta:
        return self.ends - self.begins

    @property
    def due(self) -> datetime:
        """From when on it is to be replaced."""
        return self.begins + self.length * RENEW_AFTER

    def is_late(self, now: datetime) -> bool:
        """Whether it should long have been replaced: whoever renews does not, or cannot."""
        return now >= self.begins + self.length * LATE_AFTER


def is_due(leaf: Life, now: datetime, *, authority_ends: datetime, validity: timedelta) -> bool:
    """Whether to replace the leaf now by one that lives `validity`, at most as long as its authority."""
    ends = min(now + validity, authority_ends)
    return now >= leaf.due and ends - max(leaf.ends, now) >= leaf.length * MIN_GAIN
