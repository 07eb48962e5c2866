"""JSON patches (RFC 6902) on plain JSON. Pure: arguments are never changed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from lab.api.status import StatusError, bad_request

Json = dict[str, Any]


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902. A failing operation is a 422, as in Kubernetes."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    result: Any = deepcopy(target)
    for operation in operations:
        try:
            result = _operate(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise StatusError(
                422, "Invalid", f"the JSON patch cannot be applied: {operation}: {error}"
            ) from error
    if not isinstance(result, dict):
        raise bad_request("the JSON patch leaves no object")
    return result


def _operate(document: Any, operation: Json) -> Any:
    verb, path = operation["op"], _pointer(operation["path"])
    match verb:
        case "add":
            return _set(document, path, deepcopy(operation["value"]), insert=True)
        case "replace":
            _at(document, path)
            return _set(document, path, deepcopy(operation["value"]), insert=False)
        case "remove":
            return _remove(document, path)
        case "test":
            if _at(document, path) != operation["value"]:
                raise ValueError("the tested value differs")
            return document
        case "copy" | "move":
            source = _pointer(operation["from"])
            value = deepcopy(_at(document, source))
            if verb == "move":
                document = _remove(document, source)
            return _set(document, path, value, insert=True)
    raise ValueError(f"unknown operation {verb!r}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"not a JSON pointer: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], part: str, *, end: int) -> int:
    index = end if part == "-" else int(part)
    if not 0 <= index <= end:
        raise IndexError(f"no item {part}")
    return index


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = (
            document[_index(document, part, end=len(document) - 1)]
            if isinstance(document, list)
            else document[part]
        )
    return document


def _set(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list) and insert:
        parent.insert(_index(parent, last, end=len(parent)), value)
    elif isinstance(parent, list):
        parent[_index(parent, last, end=len(parent) - 1)] = value
    else:
        parent[last] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(parent, last, end=len(parent) - 1)]
    else:
        del parent[last]
    return document
