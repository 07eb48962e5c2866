"""The few defaults that readers rely on, by kind; applied on every write, before admission. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from lab.api.kinds import Kind
from lab.api.status import bad_request, invalid

Json = dict[str, Any]


def with_defaults(kind: Kind, body: Json, *, timestamp: str) -> Json:
    """The body with what the server fills in. Raises StatusError for what cannot be stored."""
    if kind.is_custom:
        return body
    fill = _FILLERS.get(kind.name)
    return fill(body, timestamp) if fill else body


def _pod(body: Json, timestamp: str) -> Json:
    spec = {"restartPolicy": "Always", "serviceAccountName": "default", "dnsPolicy": "ClusterFirst"}
    spec |= body.get("spec") or {}
    if not spec.get("containers"):
        raise invalid("Pod", body["metadata"].get("name", ""), "spec.containers", "Required value")
    return {**body, "spec": spec, "status": body.get("status") or {"phase": "Pending"}}


def _namespace(body: Json, timestamp: str) -> Json:
    metadata = body["metadata"]
    labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
    spec = {"finalizers": ["kubernetes"]}
    status = body.get("status") or {"phase": "Active"}
    return {**body, "metadata": {**metadata, "labels": labels}, "spec": spec, "status": status}


def _secret(body: Json, timestamp: str) -> Json:
    texts = body.get("stringData") or {}
    data = {**(body.get("data") or {})}
    data |= {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    for key, value in data.items():
        try:
            base64.b64decode(value or "", validate=True)
        except (TypeError, ValueError) as error:
            raise bad_request(f"Secret data {key!r} is not base64") from error
    kept = {key: value for key, value in body.items() if key not in ("stringData", "data")}
    return {"type": "Opaque", **kept, **({"data": data} if data else {})}


def _workload(body: Json, timestamp: str) -> Json:
    spec = body.get("spec") or {}
    if not spec.get("selector") or not spec.get("template"):
        name = body["metadata"].get("name", "")
        raise invalid(body["kind"], name, "spec", "Required value: selector and template are required")
    if body["kind"] != "DaemonSet" and spec.get("replicas") is None:
        spec = {**spec, "replicas": 1}
    return {**body, "spec": spec, "status": body.get("status") or {}}


def _job(body: Json, timestamp: str) -> Json:
    policy = (((body.get("spec") or {}).get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy not in ("Never", "OnFailure"):
        name = body["metadata"].get("name", "")
        path = "spec.template.spec.restartPolicy"
        raise invalid(body["kind"], name, path, "Required value: OnFailure or Never")
    return {**body, "status": body.get("status") or {}}


def _definition(body: Json, timestamp: str) -> Json:
    name, spec = body["metadata"].get("name", ""), body.get("spec") or {}
    names, versions = spec.get("names") or {}, spec.get("versions") or []
    if name != f"{names.get('plural')}.{spec.get('group')}" or "kind" not in names:
        raise invalid(body["kind"], name, "metadata.name", "must be spec.names.plural+'.'+spec.group")
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        raise invalid(body["kind"], name, "spec.scope", "must be Namespaced or Cluster")
    stored = [version.get("name", "") for version in versions if version.get("storage")]
    if len(stored) != 1:
        raise invalid(body["kind"], name, "spec.versions", "must have exactly one version with storage: true")
    names = {"singular": names["kind"].lower(), "listKind": names["kind"] + "List", **names}
    old = body.get("status") or {}
    since = {row["type"]: row["lastTransitionTime"] for row in old.get("conditions", [])}
    conditions = [
        {"type": claim, "status": "True", "reason": reason, "lastTransitionTime": since.get(claim, timestamp)}
        for claim, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
    ]
    status = {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}
    return {**body, "spec": {**spec, "names": names}, "status": status}


_FILLERS: Mapping[str, Callable[[Json, str], Json]] = {
    "Pod": _pod,
    "Namespace": _namespace,
    "Secret": _secret,
    "Deployment": _workload,
    "ReplicaSet": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Job": _job,
    "CustomResourceDefinition": _definition,
}
