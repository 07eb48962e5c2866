"""One client's share, and that forgetting clients gives nobody more of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.quota import Account, Bucket, Limits, Quotas

SMALL = Limits(streams=2, watches=3, feeds=1, requests_per_second=10, burst_seconds=0.5, bytes_in_flight=100)


@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_nobody_gets_more_than_the_burst_and_the_rate(rate: float, burst: int, waits: list[float]) -> None:
    bucket, now, taken = Bucket(rate, burst), 0.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
        assert taken <= burst + rate * now + 1e-6


def test_who_asks_no_faster_than_the_rate_is_never_refused() -> None:
    bucket = Bucket(10, 1)
    assert all(bucket.take(number / 9.9) for number in range(100))


def test_streams_watches_and_bytes_are_bounded_and_come_back() -> None:
    account = Account(SMALL)
    assert [account.may_stream() for _ in range(3)] == [True, True, False]
    assert [account.may_watch() for _ in range(4)] == [True, True, True, False]
    assert [account.may_open_feed() for _ in range(2)] == [True, False]
    account.streams -= 1
    assert account.may_stream()
    account.bytes_in_flight += 99
    assert account.may_fetch()
    account.bytes_in_flight += 400  # one answer may be larger than all
    assert not account.may_fetch()


def test_another_address_or_another_name_is_another_client() -> None:
    quotas = Quotas(SMALL)
    for name, address in (("remote", "a"), ("remote", "b"), ("remote-west", "a")):
        account = quotas.account(name, address, 0.0)
        assert account is not None
        assert account.may_stream() and account.may_stream() and not account.may_stream()


def test_only_clients_to_whom_it_makes_no_difference_are_forgotten() -> None:
    quotas = Quotas(SMALL, most=2)
    busy, spent = quotas.account("busy", "", 0.0), quotas.account("spent", "", 0.0)
    assert busy is not None and spent is not None
    assert busy.may_stream()
    while spent.may_ask(0.0):
        pass
    assert quotas.account("new", "", 0.1) is None
    new = quotas.account("new", "", 10.0)  # by now `spent` has its whole burst again
    assert new is not None
    assert quotas.account("busy", "", 10.0) is busy
