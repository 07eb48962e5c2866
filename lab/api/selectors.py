"""Label and field selectors: text in, a test on objects out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lab.api.status import bad_request
from mesh.labelselector import SelectorError, label_test

Json = dict[str, Any]
Test = Callable[[Json], bool]

_FIELDS_EVERYWHERE = ("metadata.name", "metadata.namespace")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
    ),
    "Namespace": ("status.phase",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
    "Node": ("spec.unschedulable",),
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}


def selection(kind: str, label_selector: str, field_selector: str) -> Test | None:
    """A test for both selectors; None when everything is wanted. Raises StatusError 400."""
    tests: list[Test] = []
    if label_selector.strip():
        try:
            test = label_test(label_selector)
        except SelectorError as error:
            raise bad_request(str(error)) from error
        tests.append(lambda body: test(_labels(body)))
    if field_selector.strip():
        tests += field_requirements(kind, field_selector)
    return (lambda body: all(test(body) for test in tests)) if tests else None


def field_requirements(kind: str, text: str) -> list[Test]:
    return [_field_requirement(kind, part.strip()) for part in text.split(",") if part.strip()]


def _field_requirement(kind: str, text: str) -> Test:
    found = re.fullmatch(r"([A-Za-z.]+)\s*(==|=|!=)\s*(.*)", text)
    if not found:
        raise bad_request(f"invalid field selector: {text!r}")
    name, operator, value = found.groups()
    if name not in (*_FIELDS_EVERYWHERE, *_FIELDS.get(kind, ())):
        raise bad_request(f'field label not supported: "{name}"')
    path, wanted = name.split("."), operator != "!="
    return lambda body: (_field(body, path) == value) is wanted


def _field(body: Json, path: list[str]) -> str:
    value: Any = body
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _labels(body: Json) -> Mapping[str, str]:
    labels: Mapping[str, str] = body.get("metadata", {}).get("labels") or {}
    return labels
