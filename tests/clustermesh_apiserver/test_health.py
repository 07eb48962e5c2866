"""Ready means that everything was exported once; metrics carry Cilium's names."""

from dataclasses import dataclass, replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aiokit.http import serve_tcp
from clustermesh_apiserver.health import KindReport, Report, application

PREFIX = "cilium_clustermesh_apiserver_"


@dataclass
class Reported:
    report: Report


@pytest.fixture
def reported() -> Reported:
    return Reported(Report("east", (KindReport("ip/v1", 5, 7, 2, True, 1),), 0.0, 1))


async def get(reported: Reported, path: str) -> tuple[int, str]:
    async with (
        serve_tcp(application(lambda: reported.report), "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_it_is_ready_once_everything_was_exported(reported: Reported) -> None:
    assert await get(reported, "/readyz") == (500, "NotReady")
    reported.report = replace(reported.report, bootstrap_seconds=1.5)
    assert await get(reported, "/readyz") == (200, "Ready")
    assert await get(reported, "/healthz") == (200, "ok")


async def test_metrics_carry_ciliums_names(reported: Reported) -> None:
    reported.report = replace(reported.report, bootstrap_seconds=1.5)
    status, text = await get(reported, "/metrics")
    assert status == 200
    samples = {
        sample.name.removeprefix(PREFIX): (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    at = {"scope": "ip/v1", "source_cluster": "east"}
    assert samples["bootstrap_seconds"] == ({}, 1.5)
    assert samples["kvstore_sync_queue_size"] == (at, 5)
    assert samples["kvstore_sync_errors_total"] == (at, 2)
    assert samples["kvstore_initial_sync_completed"] == ({**at, "action": "write"}, 1)
    assert samples["kvstore_keys"] == (at, 7)
    assert samples["objects_refused"] == (at, 1)
