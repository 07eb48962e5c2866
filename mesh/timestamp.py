"""Points in time as peers write them: RFC 3339 in whole seconds (spec 2.3).

What a heartbeat or canary says is for people: readers go by the event, never by the text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,9})[0-9]*)?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


def write(moment: datetime) -> str:
    """As Go prints it in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """What Go's time.Parse takes for RFC 3339, in UTC. ValueError otherwise."""
    match = _RFC3339.fullmatch(text) if len(text) < 64 else None
    if match is None:
        raise ValueError(f"{text[:64]!r} is not a timestamp")
    *fields, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset > timedelta(hours=24) or int(minutes or 0) > 59:
        raise ValueError(f"{text!r} has a time zone out of range")
    year, month, day, hour, minute, second = map(int, fields)
    microseconds = int(f"{fraction or '':0<6}"[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, microseconds, UTC)
        return moment - (-offset if sign == "-" else offset)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error


def encode(moment: datetime) -> bytes:
    """The value of a heartbeat or canary."""
    return write(moment).encode()


def decode(value: bytes) -> datetime | None:
    """When a heartbeat or canary was written; None when it does not say, which no reader minds."""
    try:
        return parse(value.decode())
    except ValueError:
        return None
