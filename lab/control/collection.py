"""A controllers' copy of one kind of objects: what the watch says, and what our own writes answered.

Without the latter a controller would act again on what it has just done, before the watch tells of it.
Versions are compared as numbers: they are, in the lab's API.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from k8s.collection import ObjectDelta
from k8s.objects import KubeObject, decode

T = TypeVar("T", bound=KubeObject)

_REMEMBERED = 1000  # keys of objects that went lately: an answer to a write may arrive after the removal


class Collection(Generic[T]):
    def __init__(self, kind: type[T]) -> None:
        self.objects: dict[str, T] = {}
        self.is_complete = False
        self.kind = kind
        self._removed: deque[str] = deque(maxlen=_REMEMBERED)

    def change(self, delta: ObjectDelta[T]) -> None:
        self._upsert(delta.upserts.items())
        for key in delta.removes:
            self.objects.pop(key, None)
            self._removed.append(key)
        self.is_complete = self.is_complete or delta.synced

    def answered(self, raw: bytes) -> None:
        """The server's answer to one of our writes."""
        value = decode(raw, self.kind)
        if value.metadata.key not in self._removed:
            self._upsert([(value.metadata.key, value)])

    def _upsert(self, items: Iterable[tuple[str, T]]) -> None:
        for key, value in items:
            if _version(self.objects.get(key)) <= _version(value):
                self.objects[key] = value

    def view(self) -> Mapping[str, T]:
        return dict(self.objects)


def _version(value: KubeObject | None) -> int:
    return int(value.metadata.resourceVersion or 0) if value is not None else 0
