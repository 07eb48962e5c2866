"""Alive, ready, metrics: over real HTTP."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily

from aiokit import probes
from aiokit.http import serve_tcp


async def get(app: web.Application, path: str) -> tuple[int, str]:
    async with (
        serve_tcp(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_readiness_is_said_as_cilium_says_it() -> None:
    assert await get(probes.application(lambda: False, list), "/readyz") == (500, "NotReady")
    assert await get(probes.application(lambda: True, list), "/readyz") == (200, "Ready")
    assert await get(probes.application(lambda: False, list), "/healthz") == (200, "ok")


async def test_metrics_are_collected_when_they_are_asked_for() -> None:
    asked: list[float] = []

    def collect() -> list[GaugeMetricFamily]:
        asked.append(len(asked) + 1)
        return [GaugeMetricFamily("asked", "How often", value=asked[-1])]

    app = probes.metrics_application(collect)
    assert asked == []
    status, text = await get(app, "/metrics")
    assert status == 200
    assert "asked 1.0" in text
    assert "process_open_fds " in text


async def test_a_port_for_metrics_answers_nothing_else() -> None:
    assert (await get(probes.metrics_application(list), "/readyz"))[0] == 404
