"""What a cluster's exporters say of the etcd that they write to. Lenient with other versions."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from cli.podask import Answer

PATH = "/v1/status"
_FULL = re.compile(r"database space exceeded")  # etcd's words, from its first release on


class _Kind(msgspec.Struct, rename="kebab"):
    scope: str = ""
    last_error: str = ""
    refused: int = 0


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


def unexported(answers: Iterable[Answer]) -> dict[str, int]:
    """Kind (`ip/v1`) -> how many objects peers are not told of, since they would not believe them. Pure.

    Without identities: those from before the cluster had another id stay, and nobody misses them.
    """
    found: dict[str, int] = {}
    for answer in answers:
        for kind in _status(answer.body).kinds:
            if kind.refused and not kind.scope.startswith("identities/"):
                found[kind.scope] = max(kind.refused, found.get(kind.scope, 0))
    return found


def _errors(body: bytes) -> list[str]:
    said = _status(body)
    return [said.heartbeat_error, *(kind.last_error for kind in said.kinds)]


def _status(body: bytes) -> _Status:
    try:
        return msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:  # nothing, or an exporter of another version
        return _Status()
