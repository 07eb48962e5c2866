"""Answers to list requests: pages of one consistent picture, or a table for people. Pure but for reading."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from lab.api.collection import Collection, HistoryGoneError, Stored, within
from lab.api.kinds import Kind
from lab.api.status import bad_request, expired

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListRequest:
    kind: Kind
    prefix: bytes
    wanted: Callable[[Json], bool] | None
    limit: int = 0  # 0: everything
    continue_: str = ""


@dataclass(frozen=True, slots=True)
class ListAnswer:
    items: list[Stored]
    revision: int
    continue_: str = ""
    remaining: int = 0


class _Token(msgspec.Struct):
    """Where the next page begins; opaque to clients."""

    revision: int
    start: str


def answer_list(request: ListRequest, collection: Collection, revision: int) -> ListAnswer:
    """One page. Raises StatusError 410 when history no longer reaches the first page's revision."""
    objects, start = collection.objects, ""
    if request.continue_:
        token = _decode_token(request.continue_)
        revision, start = token.revision, token.start
        try:
            objects = collection.at(revision)
        except HistoryGoneError as error:
            raise expired(f"The provided continue parameter is too old: {error}") from error
    found = [
        stored for stored in within(request.prefix, objects, request.wanted) if stored.key.decode() > start
    ]
    if not request.limit or len(found) <= request.limit:
        return ListAnswer(found, revision)
    page = list(islice(found, request.limit))
    token = _Token(revision, page[-1].key.decode())
    text = base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()
    return ListAnswer(page, revision, text, len(found) - len(page))


def _decode_token(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Token)
    except ValueError as error:
        raise bad_request("continue key is not valid") from error


def encode_list(kind: Kind, answer: ListAnswer) -> bytes:
    """Joined from the objects' own bytes: a list costs no encoding."""
    head = {
        "apiVersion": kind.resource.api_version,
        "kind": f"{kind.name}List",
        "metadata": list_meta(answer),
    }
    items = b",".join(served(kind, answer.items))
    return msgspec.json.encode(head)[:-1] + b',"items":[' + items + b"]}"


def list_meta(answer: ListAnswer) -> Json:
    metadata: Json = {"resourceVersion": str(answer.revision)}
    if answer.continue_:
        metadata |= {"continue": answer.continue_, "remainingItemCount": answer.remaining}
    return metadata


def served(kind: Kind, items: Iterable[Stored]) -> Iterable[bytes]:
    """The objects' bytes in the version that was asked for."""
    wanted = kind.resource.api_version
    for stored in items:
        if stored.body.get("apiVersion") == wanted:
            yield stored.encoded
        else:
            yield msgspec.json.encode({**stored.body, "apiVersion": wanted})
