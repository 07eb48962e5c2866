from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import timestamp

zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones
)  # fmt: skip


@given(moments)
def test_what_is_written_reads_as_the_same_second(moment: datetime) -> None:
    assert timestamp.decode(timestamp.encode(moment)) == moment.replace(microsecond=0)


@given(moments)
def test_other_zones_and_fractions_are_read(moment: datetime) -> None:
    assert timestamp.parse(moment.isoformat(timespec="microseconds")) == moment


def test_the_text_is_the_one_that_go_prints() -> None:
    moment = datetime(2026, 11, 23, 10, 15, 2, 999_999, timezone(timedelta(hours=1)))
    assert timestamp.encode(moment) == b"2026-11-23T09:15:02Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T09:15:02.123456789Z", datetime(2026, 11, 23, 9, 15, 2, 123_456, UTC)),
        ("2026-11-23T09:15:02,5Z", datetime(2026, 11, 23, 9, 15, 2, 500_000, UTC)),
        ("2026-11-23T9:15:02+23:59", datetime(2026, 11, 22, 9, 16, 2, 0, UTC)),
        ("2026-11-23T09:15:02-24:00", datetime(2026, 11, 24, 9, 15, 2, 0, UTC)),
        ("2024-02-29T00:00:00-00:00", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_unusual_texts_are_read_as_go_reads_them(text: str, expected: datetime) -> None:
    assert timestamp.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23 09:15:02Z",
        "2026-11-23T09:15:02",
        "2026-11-23t09:15:02z",
        "2026-11-23T09:15Z",
        "2026-11-23T09:15:60Z",
        "2026-11-23T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-23T09:15:02+24:01",
        "2026-11-23T09:15:02+01:60",
        "2026-11-23T09:15:02+0100",
        "2026-11-23T09:15:02Z\n",
        "٢٠٢٦-11-23T09:15:02Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-11-23T09:15:02." + "1" * 100 + "Z",
    ],
)
def test_other_texts_are_no_timestamps(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a timestamp|out of range|must be in"):
        timestamp.parse(text)
    assert timestamp.decode(text.encode()) is None


@given(
    st.binary(max_size=40) | st.from_regex(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.Z+-]{8,20}", fullmatch=True)
)
def test_a_heartbeat_may_say_anything(value: bytes) -> None:
    moment = timestamp.decode(value)
    assert moment is None or moment.tzinfo is UTC
