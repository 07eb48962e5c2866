"""Reading list answers without decoding the objects in them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A complete list and the version of the collection it shows."""

    items: list[msgspec.Raw]
    resource_version: str


class ListMeta(msgspec.Struct):
    resourceVersion: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """One answer to a list request; `metadata.continue_` is empty on the last one."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None  # Go writes an empty list as null


_decoder = msgspec.json.Decoder(Page)


def decode_page(body: bytes) -> Page:
    """Raises msgspec.MsgspecError when the body is no list."""
    return _decoder.decode(body)
