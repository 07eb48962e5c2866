"""What the server says of itself: groups, versions, resources, and a minimal OpenAPI. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.api.kinds import VERBS, Kind, Kinds

Json = dict[str, Any]

VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "31",
    "gitVersion": "v1.31.0-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
OPENAPI_V2: Json = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "lab"}, "paths": {}}
# kubectl asks for the protobuf form and refuses any other: field 1 ("swagger") alone is a document
OPENAPI_V2_PROTOBUF = b"\x0a\x032.0"
OPENAPI_V3: Json = {"paths": {}}
_POD_SUBRESOURCES = (("exec", "PodExecOptions"), ("log", "Pod"), ("proxy", "PodProxyOptions"))


def document(path: str, kinds: Kinds) -> Json | None:
    """The document at a path; None when there is none."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api", version]:
            return _resources(version, kinds.in_group("").get(version))
        case ["apis", group, version]:
            return _resources(f"{group}/{version}", kinds.in_group(group).get(version))
        case ["apis", group] if kinds.in_group(group):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, kinds)}
    fixed: Mapping[str, Json] = {
        "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "apis": {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(name, kinds) for name in kinds.groups()],
        },
        "version": dict(VERSION),
        "openapi/v3": OPENAPI_V3,
    }
    return fixed.get("/".join(parts))


def _group(name: str, kinds: Kinds) -> Json:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version} for version in sorted(kinds.in_group(name))
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[-1]}


def _resources(group_version: str, kinds: list[Kind] | None) -> Json | None:
    if not kinds:
        return None
    resources = [row for kind in kinds for row in _rows(kind)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _rows(kind: Kind) -> list[Json]:
    resource = kind.resource
    row = {
        "name": kind.plural,
        "singularName": kind.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
        "shortNames": list(kind.short_names),
    }
    if kind.plural in ("pods", "services", "deployments", "daemonsets", "replicasets", "statefulsets"):
        row["categories"] = ["all"]
    rows = [row]
    if kind.has_status:
        rows.append(_subresource(kind, "status", kind.name))
    if kind.has_scale:
        rows.append({**_subresource(kind, "scale", "Scale"), "group": "autoscaling", "version": "v1"})
    if kind.resource.kind == "Pod" and not kind.group:
        rows += [_subresource(kind, name, shape) for name, shape in _POD_SUBRESOURCES]
    return rows


def _subresource(kind: Kind, name: str, shape: str) -> Json:
    verbs = ["get", "create"] if name in ("exec", "proxy") else ["get", "patch", "update"]
    return {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.resource.namespaced,
        "kind": shape,
        "verbs": ["get"] if name == "log" else verbs,
    }
