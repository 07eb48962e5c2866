"""CronJobs become Jobs, and Jobs pods that end. Pure.

Of a Job only what certificates' renewal needs: one pod at a time, `backoffLimit`, conditions. A pod that
has ended stays, with its log, until its Job goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from k8s.resource import CRONJOB, JOB, POD, Resource
from lab.control import cron
from lab.control.world import FINALIZER, Body, Create, Delete, Patch, World, Write
from lab.manifest import CronJob, Job, Pod

FAILED, SUCCEEDED = "Failed", "Succeeded"


def control(world: World) -> list[Write]:
    writes: list[Write] = []
    for job in world.jobs.values():
        writes += _job(
            job, [pod for pod in world.pods.values() if pod.metadata.controller_uid == job.metadata.uid]
        )
    for each in world.cronjobs.values():
        owned = [job for job in world.jobs.values() if job.metadata.controller_uid == each.metadata.uid]
        writes += [*_due(each, owned, world.now), *_history(each, owned)]
    return writes


def _job(job: Job, owned: list[Pod]) -> Iterator[Write]:
    if job.is_over:
        return
    failed = sum(pod.status.phase == FAILED for pod in owned)
    succeeded = sum(pod.status.phase == SUCCEEDED for pod in owned)
    active = len(owned) - failed - succeeded
    is_lost = failed > job.spec.backoffLimit
    if not active and not succeeded and not is_lost:
        yield Create(POD, _pod(job))
        active = 1
    ended = "Complete" if succeeded else "Failed" if is_lost else ""
    wanted: dict[str, Any] = {"active": active, "succeeded": succeeded, "failed": failed}
    if ended:
        wanted["conditions"] = [{"type": ended, "status": "True"}]
    if {key: job.status.get(key) for key in wanted} != wanted:
        yield Patch(JOB, job.metadata.namespace, job.metadata.name, {"status": wanted}, "status")


def _due(each: CronJob, owned: list[Job], now: datetime) -> Iterator[Write]:
    begin = each.status.lastScheduleTime or each.metadata.creationTimestamp
    if each.spec.suspend or not begin:
        return
    try:
        moment = cron.parse(each.spec.schedule).latest(datetime.fromisoformat(begin), now)
    except ValueError:
        return  # a schedule of somebody's that we cannot read: nothing runs, and nothing else suffers
    if moment is None:
        return
    if each.spec.concurrencyPolicy != "Forbid" or all(job.is_over for job in owned):
        yield Create(JOB, job_body(each, f"{each.metadata.name}-{int(moment.timestamp()) // 60}"))
    told = {"lastScheduleTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
    yield Patch(CRONJOB, each.metadata.namespace, each.metadata.name, {"status": told}, "status")


def _history(each: CronJob, owned: list[Job]) -> Iterator[Write]:
    over = sorted((job for job in owned if job.is_over), key=lambda job: job.metadata.creationTimestamp)
    for jobs, limit in (
        ([job for job in over if not job.has_failed], each.spec.successfulJobsHistoryLimit),
        ([job for job in over if job.has_failed], each.spec.failedJobsHistoryLimit),
    ):
        for job in jobs[: max(0, len(jobs) - limit)]:
            yield Delete(JOB, job.metadata.namespace, job.metadata.name)


def job_body(each: CronJob, name: str) -> Body:
    """A Job of the CronJob's template, as the controller makes it when the time has come."""
    template = each.spec.jobTemplate
    metadata = {
        **(template.get("metadata") or {}),
        "name": name,
        "namespace": each.metadata.namespace,
        "ownerReferences": [_reference(CRONJOB, each.metadata.name, each.metadata.uid)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template.get("spec") or {}}


def _pod(job: Job) -> Body:
    meta, spec = (job.spec.template.get(key) or {} for key in ("metadata", "spec"))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{job.metadata.name}-",
            "namespace": job.metadata.namespace,
            "labels": {**(meta.get("labels") or {}), "job-name": job.metadata.name},
            "annotations": meta.get("annotations") or {},
            "finalizers": [FINALIZER],
            "ownerReferences": [_reference(JOB, job.metadata.name, job.metadata.uid)],
        },
        "spec": spec,
    }


def _reference(resource: Resource, name: str, uid: str) -> Body:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
