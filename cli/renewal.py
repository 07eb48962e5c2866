"""The CronJob that renews a cluster's certificates: none else of ours may read the authority's key. Pure."""

from __future__ import annotations

from typing import Any

from cli.container import hardened, on_control_node, unprivileged
from cli.settings import CERTGEN, CLUSTER, MeshSettings
from cli.workload import metadata

RETRIES = 3
DEADLINE_SECONDS = 300  # a round takes seconds; one that hangs must not hold up the next


def cron_job(settings: MeshSettings) -> dict[str, Any]:
    spec = {
        "schedule": settings.schedule,
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job_spec(settings)},
    }
    return {"metadata": metadata(CERTGEN, settings), "spec": spec}


def job_spec(settings: MeshSettings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "serviceAccountName": CERTGEN,
        "securityContext": unprivileged(),
        "restartPolicy": "Never",  # a failed pod stays, with its log
        "containers": [_certgen(settings)],
    }
    if settings.on_control_node:
        pod |= on_control_node()
    template = {"metadata": {"labels": {"k8s-app": CERTGEN}}, "spec": pod}
    return {"backoffLimit": RETRIES, "activeDeadlineSeconds": DEADLINE_SECONDS, "template": template}


def _certgen(settings: MeshSettings) -> dict[str, Any]:
    own_name = ["--own-name"] if settings.auth_mode == CLUSTER else []
    issue = [f"--cluster-name={settings.cluster_name}", "--ca-generate", *own_name] if settings.issues else []
    args = [
        "certgen",
        f"--namespace={settings.namespace}",
        f"--validity-days={settings.validity_days}",
        *issue,
    ]
    return {
        "name": "certgen",
        "image": settings.image,
        **hardened(),
        "command": ["clustermesh-apiserver"],
        "args": args,
    }
