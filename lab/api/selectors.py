"""Label and field selectors: text in, a test on objects out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lab.api.status import bad_request

Json = dict[str, Any]
Test = Callable[[Json], bool]
LabelTest = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_COMPARE = re.compile(rf"({_KEY})\s*(==|=|!=|>|<)\s*([A-Za-z0-9._-]*)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_COMMAS = re.compile(r",(?![^()]*\))")  # those outside parentheses

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
        requirements = label_requirements(label_selector)
        tests.append(lambda body: all(test(_labels(body)) for test in requirements))
    if field_selector.strip():
        tests += field_requirements(kind, field_selector)
    return (lambda body: all(test(body) for test in tests)) if tests else None


def label_requirements(text: str) -> list[LabelTest]:
    return [_label_requirement(part.strip()) for part in _COMMAS.split(text)]


def field_requirements(kind: str, text: str) -> list[Test]:
    return [_field_requirement(kind, part.strip()) for part in text.split(",") if part.strip()]


def _label_requirement(text: str) -> LabelTest:
    if found := _SET.fullmatch(text):
        key, operator, values = found.group(1), found.group(2), _values(found.group(3))
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values  # an absent label is not in any set
    if found := _COMPARE.fullmatch(text):
        return _comparison(*found.groups())
    if found := _EXISTS.fullmatch(text):
        absent, key = bool(found.group(1)), found.group(2)
        return lambda labels: (key not in labels) is absent
    raise bad_request(f"unable to parse requirement: {text!r}")


def _comparison(key: str, operator: str, value: str) -> LabelTest:
    match operator:
        case "=" | "==":
            return lambda labels: labels.get(key) == value
        case "!=":
            return lambda labels: labels.get(key) != value
    if not value.isdigit():
        raise bad_request(
            f"unable to parse requirement: {key}{operator}{value}: the value must be an integer"
        )
    sign = 1 if operator == ">" else -1

    def compare(labels: Mapping[str, str]) -> bool:
        own = labels.get(key, "")
        return own.isdigit() and sign * (int(own) - int(value)) > 0

    return compare


def _values(text: str) -> frozenset[str]:
    return frozenset(value.strip() for value in text.split(","))


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
