"""The scale subresource: a workload's number of replicas as an object of its own. Pure."""

from __future__ import annotations

from typing import Any

from lab.api.status import invalid

Json = dict[str, Any]

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def as_scale(body: Json) -> Json:
    """The Scale that a workload shows."""
    spec, status = body.get("spec", {}), body.get("status", {})
    labels = spec.get("selector", {}).get("matchLabels", {})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: body["metadata"][key] for key in _METADATA if key in body["metadata"]},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def with_scale(body: Json, scale: Json) -> Json:
    """The workload with the number of replicas that the Scale asks for."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise invalid(
            "Scale", body["metadata"]["name"], "spec.replicas", "must be greater than or equal to 0"
        )
    version = scale.get("metadata", {}).get("resourceVersion") or body["metadata"]["resourceVersion"]
    metadata = {**body["metadata"], "resourceVersion": version}
    return {**body, "metadata": metadata, "spec": {**body.get("spec", {}), "replicas": replicas}}
