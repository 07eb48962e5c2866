"""Two clocks that differ: whose time certificates are issued with, and what is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from clustermesh_apiserver.certgen import common_now
from k8s import clock
from k8s.access import Access
from k8s.client import connect

NOW = datetime(2026, 11, 27, 2, 50, 30, tzinfo=UTC)
DAYS = timedelta(days=2)


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Fri, 27 Nov 2026 02:50:30 GMT", timedelta(0)),
        ("Wed, 25 Nov 2026 02:50:30 GMT", DAYS),
        ("Sun, 29 Nov 2026 02:50:30 GMT", -DAYS),
        ("Fri, 27 Nov 2026 02:50:30 -0000", timedelta(0)),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_an_answer_tells_how_far_we_are_ahead(date: str | None, ahead: timedelta | None) -> None:
    assert clock.ahead(date, NOW) == ahead


def test_who_is_ahead_issues_with_the_server_s_time_and_who_is_behind_with_its_own() -> None:
    assert clock.common(NOW, DAYS) == NOW - DAYS
    assert clock.common(NOW, -DAYS) == NOW
    assert clock.common(NOW, clock.SLACK) == NOW


def test_clocks_that_differ_are_named_and_a_second_is_none() -> None:
    assert clock.warning(DAYS, "west") == (
        "this machine's clock is 2 days, 0:00:00 ahead of the one of west's API server: set it"
    )
    assert "1:00:00 behind" in clock.warning(-timedelta(hours=1, microseconds=7), "west")
    assert clock.warning(clock.SLACK, "west") == ""


def test_an_error_about_a_certificate_s_time_names_ours_and_no_other_does() -> None:
    refused = "GET https://x: [SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid (_ssl.c:992)"
    assert clock.explained(refused, NOW).endswith(
        "is this machine's clock right? It says 2026-11-27 02:50 UTC"
    )
    assert clock.explained("Connection refused", NOW) == "Connection refused"


async def test_certificates_are_not_renewed_into_the_future_of_the_api_server() -> None:
    told = datetime.now(UTC) - DAYS

    async def version(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Date": format_datetime(told, usegmt=True)})

    app = web.Application()
    app.router.add_get("/version", version)
    async with TestServer(app) as server, connect(Access(str(server.make_url("")).rstrip("/"))) as client:
        found = await common_now(client)
    assert abs(found - told) < timedelta(minutes=1)
