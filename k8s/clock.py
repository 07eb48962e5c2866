"""Our clock against an API server's, which says its time in every answer. Pure.

What a machine issues whose clock is ahead is not valid yet for all others; one whose clock is behind believes
in nobody's certificate.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SLACK = timedelta(minutes=4)  # certificates are dated back by five


def ahead(date: str | None, now: datetime) -> timedelta | None:
    """How far `now` is ahead of an answer's `Date`, to a second and the answer's way; None: it has none."""
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return now - (told if told.tzinfo else told.replace(tzinfo=UTC))


def common(now: datetime, ahead: timedelta) -> datetime:
    """The time to issue with: the API server's where ours is ahead by more than peers forgive."""
    return now - ahead if ahead > SLACK else now


def warning(ahead: timedelta, whose: str) -> str:
    """What to say of two clocks; empty when they agree."""
    if abs(ahead) <= SLACK:
        return ""
    seconds = timedelta(seconds=round(abs(ahead).total_seconds()))
    where = "ahead of" if ahead > timedelta(0) else "behind"
    return f"this machine's clock is {seconds} {where} the one of {whose}'s API server: set it"


def explained(text: str, now: datetime) -> str:
    """An error's text; with our time, where a certificate was refused for the time that we think it is."""
    if "certificate is not yet valid" in text or "certificate has expired" in text:
        return f"{text}: is this machine's clock right? It says {now:%Y-%m-%d %H:%M} UTC"
    return text
