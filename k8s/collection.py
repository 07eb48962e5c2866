"""What we hold of a collection, and what a listing or events change in it. No I/O, no tasks.

Versions are opaque: compared for equality only. Apart from the watch so that the rules are tested
without a server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from k8s.errors import APIError, from_answer
from k8s.listing import ObjectList
from k8s.objects import KubeObject, decode

log = logging.getLogger(__name__)
T = TypeVar("T", bound=KubeObject)


@dataclass(frozen=True, slots=True)
class ObjectDelta(Generic[T]):
    """What to do next; keys are `namespace/name` or `name`. `synced` ends every complete listing."""

    upserts: dict[str, T] = field(default_factory=dict)
    removes: set[str] = field(default_factory=set)
    synced: bool = False

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removes or self.synced)


class Event(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


_event_decoder = msgspec.json.Decoder(Event)


class CollectionState(Generic[T]):
    """Folds listings and events into deltas against what the consumer holds.

    An object that cannot be decoded is skipped, counted, and logged once until it heals; the version
    that the consumer holds stays, because unknown is not absent.
    """

    def __init__(self, what: str, type_: type[T]) -> None:
        self.resource_version = ""  # where the next watch begins; empty: list first
        self.skipped = 0
        self._what = what
        self._type = type_
        self._versions: dict[str, str] = {}  # what the consumer holds, by key
        self._broken: set[str] = set()

    def forget_version(self) -> None:
        """History is gone or in doubt: the next round lists and compares."""
        self.resource_version = ""

    def listed(self, listing: ObjectList) -> ObjectDelta[T]:
        """A complete listing: upserts for what differs, removes for what is not there any more."""
        upserts: dict[str, T] = {}
        seen: set[str] = set()
        for raw in listing.items:
            key, value = self._decode(raw)
            seen.add(key)
            if value is not None and self._versions.get(key) != value.metadata.resourceVersion:
                upserts[key] = value
                self._versions[key] = value.metadata.resourceVersion
        removes = self._versions.keys() - seen
        for key in removes:
            del self._versions[key]
        self._broken &= seen
        self.resource_version = listing.resource_version
        return ObjectDelta(upserts, removes, synced=True)

    def happened(self, lines: Iterable[bytes]) -> tuple[ObjectDelta[T], APIError | None]:
        """Events in order, and the error that ended them, if one did."""
        upserts: dict[str, T] = {}
        removes: set[str] = set()
        fresh: set[str] = set()  # not held before these events: their end is nobody's business
        for line in lines:
            event = _event_decoder.decode(line)
            if event.type == "ERROR":
                return ObjectDelta(upserts, removes), from_answer(0, event.object)
            key, value = self._decode(event.object)
            if event.type == "BOOKMARK":
                self._broken.discard(key)
            elif event.type == "DELETED":
                upserts.pop(key, None)
                self._broken.discard(key)
                if self._versions.pop(key, None) is not None and key not in fresh:
                    removes.add(key)
                fresh.discard(key)
            elif value is not None:
                if key not in self._versions and key not in removes:
                    fresh.add(key)
                removes.discard(key)
                upserts[key] = value
                self._versions[key] = value.metadata.resourceVersion
        return ObjectDelta(upserts, removes), None

    def _decode(self, raw: msgspec.Raw) -> tuple[str, T | None]:
        """The object's key, and its value unless it is broken; takes note of its version."""
        try:
            value = decode(raw, self._type)
        except msgspec.MsgspecError as error:
            return self._skip(raw, error), None
        self.resource_version = value.metadata.resourceVersion or self.resource_version
        self._broken.discard(value.metadata.key)
        return value.metadata.key, value

    def _skip(self, raw: msgspec.Raw, error: Exception) -> str:
        try:
            metadata = decode(raw, KubeObject).metadata
        except msgspec.MsgspecError:
            metadata = KubeObject().metadata
        self.resource_version = metadata.resourceVersion or self.resource_version
        self.skipped += 1
        if metadata.key not in self._broken:
            self._broken.add(metadata.key)
            log.warning("object skipped: %s %s does not decode: %s", self._what, metadata.key, error)
        return metadata.key
