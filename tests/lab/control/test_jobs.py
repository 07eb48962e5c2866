"""CronJobs run when it is time, and Jobs until they have succeeded or failed too often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.resource import CRONJOB, JOB, POD
from lab.control import cron
from lab.control.world import Body
from tests.lab.worlds import FakeCluster

BORN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(now=BORN)
    made.node("node-1")
    return made


def schedule(cluster: FakeCluster, when: str, **spec: object) -> Body:
    pod = {"metadata": {"labels": {"app": "renew"}}, "spec": {"containers": [{"name": "c"}]}}
    job = {"spec": {"backoffLimit": 1, "template": pod}}
    metadata = {"name": "renew", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return cluster.add(
        CRONJOB, {"metadata": metadata, "spec": {"schedule": when, "jobTemplate": job, **spec}}
    )


def end(cluster: FakeCluster, phase: str) -> None:
    for pod in cluster.objects[POD].values():
        if "phase" not in pod.get("status", {}):
            pod["status"] = {"phase": phase}
    cluster.settle()


def jobs(cluster: FakeCluster) -> list[str]:
    return sorted(key for key in cluster.objects[JOB])


def test_a_job_is_made_when_its_minute_has_come_and_once_only(cluster: FakeCluster) -> None:
    schedule(cluster, "30 3 * * *")
    cluster.settle()
    assert jobs(cluster) == []
    cluster.now = BORN + timedelta(hours=4)
    cluster.settle()
    assert len(jobs(cluster)) == len(cluster.pods("renew")) == 1
    end(cluster, "Succeeded")
    cluster.now += timedelta(hours=1)
    assert cluster.settle() == []
    (job,) = cluster.objects[JOB].values()
    assert job["status"]["conditions"] == [{"type": "Complete", "status": "True"}]


def test_a_failed_pod_is_followed_by_another_until_there_were_too_many(cluster: FakeCluster) -> None:
    schedule(cluster, "* * * * *", concurrencyPolicy="Forbid")
    cluster.now += timedelta(minutes=1)
    cluster.settle()
    for _ in range(3):
        end(cluster, "Failed")
    (job,) = cluster.objects[JOB].values()
    assert (job["status"]["failed"], len(cluster.pods("renew"))) == (2, 2)
    assert job["status"]["conditions"][0]["type"] == "Failed"


def test_nothing_is_made_beside_a_job_that_still_runs_and_old_ones_go(cluster: FakeCluster) -> None:
    schedule(cluster, "* * * * *", concurrencyPolicy="Forbid", successfulJobsHistoryLimit=2)
    for minute in range(1, 6):
        cluster.now = BORN + timedelta(minutes=minute)
        cluster.settle()
        cluster.now += timedelta(seconds=30)
        cluster.settle()
        assert len(jobs(cluster)) <= 3
        for job in cluster.objects[JOB].values():
            job["metadata"].setdefault("creationTimestamp", f"2026-01-01T00:{minute:02}:00Z")
        end(cluster, "Succeeded")
    assert len(jobs(cluster)) == 2


@pytest.mark.parametrize(
    ("text", "moment", "fits"),
    [
        ("*/20 * * * *", datetime(2026, 1, 1, 5, 40), True),
        ("*/20 * * * *", datetime(2026, 1, 1, 5, 41), False),
        ("0 0 1 */4 *", datetime(2026, 5, 1), True),
        ("0 0 1 */4 *", datetime(2026, 4, 1), False),
        ("0 9-17/4 * * 1,2", datetime(2026, 1, 5, 13), True),
        ("0 0 13 * 5", datetime(2026, 1, 9), True),  # a Friday, and not the 13th
        ("0 0 * * 7", datetime(2026, 1, 4), True),
    ],
)
def test_schedules_mean_what_cron_means(text: str, moment: datetime, fits: bool) -> None:
    assert cron.parse(text).fits(moment) is fits


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        cron.parse(text)


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
MINUTE = timedelta(minutes=1)


@settings(deadline=None)
@given(MOMENTS, st.timedeltas(timedelta(), timedelta(hours=8)), st.sampled_from(["*/7 * * * *", "5 3 * * 1"]))
def test_the_latest_moment_fits_and_none_after_it_does(now: datetime, ago: timedelta, text: str) -> None:
    schedule, since = cron.parse(text), now - ago
    found = schedule.latest(since, now)
    assert found is None or (since < found <= now and schedule.fits(found))
    later = now.replace(second=0, microsecond=0)
    while later > max(found or since, since):
        assert not schedule.fits(later)
        later -= MINUTE
