"""Lists as tables, which `kubectl get` asks for to print its columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lab.api.collection import Stored
from lab.api.kinds import Kind

Json = dict[str, Any]
Column = tuple[str, Callable[[Json], Any]]

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def wants_table(accept: str) -> bool:
    return accept.startswith("application/json;as=Table")


def encode_table(kind: Kind, items: Iterable[Stored], metadata: Json) -> Json:
    """A meta.k8s.io/v1 Table; kinds without columns of their own show name and age."""
    columns = (("Name", _name), *_COLUMNS.get(kind.name, ()), ("Age", _age))
    definitions = [
        {
            "name": title,
            "type": "string",
            "format": "name" if title == "Name" else "",
            "description": "",
            "priority": 0,
        }
        for title, _ in columns
    ]
    rows = [
        {
            "cells": [read(stored.body) for _, read in columns],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": stored.body["metadata"],
            },
        }
        for stored in items
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _name(body: Json) -> str:
    name: str = body["metadata"]["name"]
    return name


def _age(body: Json) -> str:
    born = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    seconds = max(0, int((datetime.now(UTC) - born).total_seconds()))
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds // size}{unit}"


def _at(*path: str, default: Any = "<none>") -> Callable[[Json], Any]:
    def read(body: Json) -> Any:
        value: Any = body
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None or value == "" else value

    return read


def _containers_ready(body: Json) -> str:
    statuses = body.get("status", {}).get("containerStatuses", [])
    wanted = len(body.get("spec", {}).get("containers", []))
    return f"{sum(bool(status.get('ready')) for status in statuses)}/{wanted}"


def _restarts(body: Json) -> int:
    return sum(
        status.get("restartCount", 0) for status in body.get("status", {}).get("containerStatuses", [])
    )


def _replicas_ready(body: Json) -> str:
    ready = body.get("status", {}).get("readyReplicas", 0)
    return f"{ready}/{body.get('spec', {}).get('replicas', 0)}"


def _external_ip(body: Json) -> str:
    rows = body.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return ",".join(row.get("ip") or row.get("hostname", "") for row in rows) or "<none>"


def _ports(body: Json) -> str:
    ports = body.get("spec", {}).get("ports", [])
    texts = (
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port['protocol']}"
        for port in ports
    )
    return ",".join(texts) or "<none>"


def _node_ready(body: Json) -> str:
    conditions = body.get("status", {}).get("conditions", [])
    ready = any(row.get("type") == "Ready" and row.get("status") == "True" for row in conditions)
    return "Ready" if ready else "NotReady"


def _job_status(body: Json) -> str:
    conditions = body.get("status", {}).get("conditions", [])
    return next((str(row["type"]) for row in conditions if row.get("status") == "True"), "Running")


_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "Pod": (
        ("Ready", _containers_ready),
        ("Status", _at("status", "phase")),
        ("Restarts", _restarts),
        ("IP", _at("status", "podIP")),
        ("Node", _at("spec", "nodeName")),
    ),
    "Service": (
        ("Type", _at("spec", "type")),
        ("Cluster-IP", _at("spec", "clusterIP")),
        ("External-IP", _external_ip),
        ("Port(s)", _ports),
    ),
    "Deployment": (
        ("Ready", _replicas_ready),
        ("Up-to-date", _at("status", "updatedReplicas", default=0)),
        ("Available", _at("status", "availableReplicas", default=0)),
    ),
    "DaemonSet": (
        ("Desired", _at("status", "desiredNumberScheduled", default=0)),
        ("Ready", _at("status", "numberReady", default=0)),
    ),
    "CronJob": (("Schedule", _at("spec", "schedule")), ("Last Schedule", _at("status", "lastScheduleTime"))),
    "Job": (("Status", _job_status),),
    "Node": (("Status", _node_ready),),
    "Namespace": (("Status", _at("status", "phase")),),
    "ConfigMap": (("Data", lambda body: len(body.get("data", {}))),),
    "Secret": (("Type", _at("type")), ("Data", lambda body: len(body.get("data", {})))),
}
