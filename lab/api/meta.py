"""What the server itself decides about an object: names, versions, times, which parts a request may change.

Pure: clock, uid and random suffix are given. Arguments are never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lab.api.kinds import Kind
from lab.api.status import bad_request, conflict, invalid

Json = dict[str, Any]

_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NAME_LIMIT = 253
_PATH_NAMES = frozenset({"rbac.authorization.k8s.io"})  # "system:node" is a fine name there
_KEEPS_STATUS_AT_CREATION = frozenset({"Node"})  # a kubelet registers with its status
_DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")
_OWNED_BY_SERVER = ("managedFields", "selfLink", *_DELETION)
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion", *_DELETION)


@dataclass(frozen=True, slots=True)
class Birth:
    """What chance and the clock contribute to a new object."""

    uid: str
    timestamp: str
    suffix: str


def check_identity(kind: Kind, body: Any, namespace: str) -> Json:
    """The body as an object of this kind in this namespace, metadata present. Raises StatusError."""
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise bad_request("the body is no Kubernetes object")
    expected = {"apiVersion": kind.resource.api_version, "kind": kind.name}
    for name, value in expected.items():
        if body.get(name, value) != value:
            raise bad_request(f"the object's {name} ({body[name]}) does not match the request ({value})")
    metadata = {key: value for key, value in body.get("metadata", {}).items() if value is not None}
    if kind.resource.namespaced:
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    for field in ("labels", "annotations"):
        _check_strings(kind, metadata, field)
    return {**body, **expected, "metadata": metadata}


def _check_strings(kind: Kind, metadata: Json, field: str) -> None:
    values = metadata.get(field, {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise invalid(kind.name, str(metadata.get("name")), f"metadata.{field}", "must be a map of strings")


def new_object(kind: Kind, body: Json, birth: Birth) -> Json:
    """The object as it is first stored."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in _OWNED_BY_SERVER}
    if metadata.pop("resourceVersion", ""):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + birth.suffix
    check_name(kind, metadata.get("name") or "")
    metadata |= {"uid": birth.uid, "creationTimestamp": birth.timestamp}
    if "spec" in body or kind.is_custom:
        metadata["generation"] = 1
    created = {**body, "metadata": metadata}
    if kind.has_status and kind.name not in _KEEPS_STATUS_AT_CREATION:
        created.pop("status", None)
    return created


def check_name(kind: Kind, name: str) -> None:
    if not name:
        raise invalid(kind.name, name, "metadata.name", "Required value: name or generateName is required")
    good = "/" not in name and "%" not in name if kind.group in _PATH_NAMES else _DNS_NAME.fullmatch(name)
    if not good or len(name) > _NAME_LIMIT:
        raise invalid(
            kind.name, name, "metadata.name", f'Invalid value: "{name}": must be a DNS-1123 subdomain'
        )


def changed_object(kind: Kind, old: Json, new: Json, *, subresource: str = "") -> Json:
    """What an update makes of the stored object; equal to `old` when nothing changes."""
    before, asked = old["metadata"], new["metadata"]
    name = before["name"]
    if asked.get("name", name) != name:
        raise bad_request(f"the name of the object ({asked['name']}) does not match the URL ({name})")
    if asked.get("uid", before["uid"]) != before["uid"]:
        raise conflict(kind.plural, kind.group, name, "the UID in the precondition differs")
    version = asked.get("resourceVersion") or before["resourceVersion"]
    if version != before["resourceVersion"]:
        raise conflict(kind.plural, kind.group, name)
    if subresource == "status":
        changed = {**old, "status": new.get("status", {})}
    else:
        changed = {**new, "metadata": _metadata(before, asked)}
        if kind.has_status:
            changed = _with_status_of(old, changed)
    return changed


def with_generation(kind: Kind, old: Json, changed: Json) -> Json:
    """Counted up when what the user wants has changed; asked last, after defaults are filled in."""
    if not _generation_counts(kind, old, changed):
        return changed
    generation = old["metadata"]["generation"] + 1
    return {**changed, "metadata": {**changed["metadata"], "generation": generation}}


def _metadata(before: Json, asked: Json) -> Json:
    metadata = {key: value for key, value in asked.items() if key not in (*_KEPT, *_OWNED_BY_SERVER)}
    return {**metadata, **{key: before[key] for key in _KEPT if key in before}}


def _with_status_of(old: Json, changed: Json) -> Json:
    without = {key: value for key, value in changed.items() if key != "status"}
    return {**without, "status": old["status"]} if "status" in old else without


def _generation_counts(kind: Kind, old: Json, changed: Json) -> bool:
    if "generation" not in old["metadata"]:
        return False
    if not kind.is_custom:
        return bool(old.get("spec") != changed.get("spec"))
    ignored = ("metadata", "status") if kind.has_status else ("metadata",)
    return _without(old, ignored) != _without(changed, ignored)


def _without(body: Json, ignored: tuple[str, ...]) -> Json:
    return {key: value for key, value in body.items() if key not in ignored}


def must_have_version(kind: Kind, body: Json) -> None:
    """Custom resources are never replaced blindly; built-in ones may be."""
    if kind.is_custom and not body["metadata"].get("resourceVersion"):
        name = str(body["metadata"].get("name"))
        raise invalid(
            kind.name, name, "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update"
        )


def marked_deleted(body: Json, timestamp: str) -> Json:
    """An object that finalizers still hold back."""
    if "deletionTimestamp" in body["metadata"]:
        return body
    mark = {"deletionTimestamp": timestamp, "deletionGracePeriodSeconds": 0}
    return {**body, "metadata": {**body["metadata"], **mark}}


def is_finished(body: Json) -> bool:
    """Whether nothing holds a deleted object back any more."""
    metadata = body["metadata"]
    return "deletionTimestamp" in metadata and not metadata.get("finalizers")


def check_preconditions(kind: Kind, body: Json, options: Json) -> None:
    """Of a delete: the caller names the very object it means. Raises StatusError 409."""
    for field, value in (options.get("preconditions") or {}).items():
        if field in ("uid", "resourceVersion") and body["metadata"][field] != value:
            name = body["metadata"]["name"]
            raise conflict(kind.plural, kind.group, name, f"the {field} in the precondition differs")
