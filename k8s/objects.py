"""What every object has, and how one is read. The kinds stand by API group beside this file.

Only the fields that we read; names are those of the wire and therefore frozen.

Lenient on purpose: every field has a default, unknown ones are skipped, and a null is the same as an
absent field (Go writes nil lists and maps as null). Writing goes through plain dicts, not through these.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct


class OwnerReference(Struct, frozen=True):
    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    generation: int = 0
    deletionTimestamp: str = ""
    creationTimestamp: str = ""
    ownerReferences: tuple[OwnerReference, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` alone for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def is_ending(self) -> bool:
        """It was deleted, and is there until its end is over."""
        return bool(self.deletionTimestamp)

    @property
    def controller_uid(self) -> str:
        """The uid of what made it and keeps it; empty for none."""
        return next((owner.uid for owner in self.ownerReferences if owner.controller), "")


class KubeObject(Struct, frozen=True):
    """What every object has."""

    metadata: ObjectMeta = ObjectMeta()


class Condition(Struct, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    lastTransitionTime: str = ""
    observedGeneration: int = 0


class ObjectReference(Struct, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


T = TypeVar("T", bound=KubeObject)


def decode(raw: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Read one object. Raises msgspec.MsgspecError when it is no such object.

    Nulls are rare and cost a second look; objects without them are read in one pass.
    """
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), type_)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
