"""Does an object already hold what we want of it? Pure."""

from __future__ import annotations

import base64
from typing import Any


def covers(current: Any, wanted: Any) -> bool:
    """Whether merging `wanted` into `current` would change nothing.

    Servers fill in defaults, so a map may hold more than was asked for, also inside lists; None asks
    for absence.
    """
    if isinstance(wanted, dict):
        if not isinstance(current, dict):
            return False
        return all(
            key not in current or current[key] is None if item is None else covers(current.get(key), item)
            for key, item in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(current, list)
            and len(current) == len(wanted)
            and all(covers(*pair) for pair in zip(current, wanted, strict=True))
        )
    return type(current) is type(wanted) and bool(current == wanted)


def with_encoded_secrets(body: dict[str, Any]) -> dict[str, Any]:
    """`stringData` moved into `data`, as the server will: else a Secret would never look unchanged."""
    texts = body.get("stringData")
    if not texts:
        return body
    data = dict(body.get("data") or {})
    for key, text in texts.items():
        data[key] = None if text is None else base64.b64encode(text.encode()).decode()
    return {**{key: item for key, item in body.items() if key != "stringData"}, "data": data}


def without_nones(value: Any) -> Any:
    """For creating: what should be absent is left out."""
    if isinstance(value, dict):
        return {key: without_nones(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nones(item) for item in value]
    return value
