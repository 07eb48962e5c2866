"""What a cluster's exporters say of the etcd that they write to. Lenient with other versions."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from cli.podask import Answer

PATH = "/v1/status"
_FULL = re.compile(r"database space exceeded")  # etcd's words, from its first release on


class _Kind(msgspec.Struct, rename="kebab"):
    last_error: str = ""


class _Status(msgspec.Struct, rename="kebab"):
    kinds: list[_Kind] = []
    heartbeat_error: str = ""


def full_stores(answers: Iterable[Answer]) -> list[str]:
    """The pods whose etcd refuses every write for want of space. Who does not answer says nothing. Pure."""
    return [answer.pod for answer in answers if any(_FULL.search(text) for text in _errors(answer.body))]


def unwritten(answers: Iterable[Answer]) -> dict[str, str]:
    """Pod -> why its etcd takes no heartbeat, where that is not for want of space. Pure."""
    found = {answer.pod: _status(answer.body).heartbeat_error for answer in answers}
    return {pod: text for pod, text in found.items() if text and not _FULL.search(text)}


def _errors(body: bytes) -> list[str]:
    said = _status(body)
    return [said.heartbeat_error, *(kind.last_error for kind in said.kinds)]


def _status(body: bytes) -> _Status:
    try:
        return msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:  # nothing, or an exporter of another version
        return _Status()
