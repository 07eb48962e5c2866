"""One Kubernetes object becomes its own pairs: nodes, identities, IPs. Pure.

Promises: whatever the order in which objects and namespaces come and go, `pairs()` is what converting
the final objects gives; of two objects that claim one key the older one has it. An object that cannot
be exported is refused with a reason and has no pairs, also when an earlier version of it had some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from clustermesh_apiserver.convert import Converted, ConvertError
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.ownership import Changes, Ownership
from k8s.core import Namespace
from k8s.objects import KubeObject
from k8s.watch import ObjectDelta

T = TypeVar("T", bound=KubeObject)


@dataclass(frozen=True, slots=True)
class Exported:
    """What one delta of objects does to the keys, and which objects are newly refused and why."""

    changes: Changes = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class ObjectExport(Generic[T]):
    """Folds deltas of objects, and of the namespaces they are in, into changes of keys."""

    def __init__(self, convert: Callable[[T], Converted], namespaces: GlobalNamespaces) -> None:
        self._convert = convert
        self._namespaces = namespaces
        self._converted: dict[str, Converted] = {}
        self._created: dict[str, str] = {}
        self._members: dict[str, set[str]] = {}  # namespace -> objects in it
        self._refused: dict[str, str] = {}
        self._ownership = Ownership()

    def pairs(self) -> dict[bytes, bytes]:
        return self._ownership.pairs()

    def refused(self) -> int:
        """How many of the objects cannot be exported, as a whole or in part."""
        return len(self._refused)

    def objects(self, delta: ObjectDelta[T]) -> Exported:
        exported = Exported()
        for name in sorted(delta.removes):
            exported.changes.update(self._forget(name))
        for name, item in delta.upserts.items():
            exported.changes.update(self._take(name, item, exported.refused))
        return exported

    def namespaces(self, delta: ObjectDelta[Namespace]) -> Exported:
        """A namespace that joined or left the mesh brings or takes all that is in it."""
        exported = Exported()
        for namespace in sorted(self._namespaces.apply(delta)):
            for name in sorted(self._members.get(namespace, ())):
                exported.changes.update(self._publish(name))
        return exported

    def _take(self, name: str, item: T, refused: dict[str, str]) -> Changes:
        try:
            converted = self._convert(item)
        except ConvertError as error:
            known = self._refused.get(name)
            changes = self._forget(name)
            self._refuse(name, str(error), known, refused)
            return changes
        self._leave_namespace(name)
        known = self._refused.pop(name, None)
        if converted.left_out:
            self._refuse(name, converted.left_out, known, refused)
        self._converted[name] = converted
        self._created[name] = item.metadata.creationTimestamp
        if converted.namespace is not None:
            self._members.setdefault(converted.namespace, set()).add(name)
        return self._publish(name)

    def _refuse(self, name: str, reason: str, known: str | None, refused: dict[str, str]) -> None:
        """Said once, until the reason changes."""
        self._refused[name] = reason
        if reason != known:
            refused[name] = reason

    def _publish(self, name: str) -> Changes:
        converted = self._converted[name]
        is_global = converted.namespace is None or converted.namespace in self._namespaces
        return self._ownership.claim(name, converted.pairs if is_global else {}, self._created[name])

    def _forget(self, name: str) -> Changes:
        self._leave_namespace(name)
        self._refused.pop(name, None)
        self._converted.pop(name, None)
        self._created.pop(name, None)
        return self._ownership.release(name)

    def _leave_namespace(self, name: str) -> None:
        converted = self._converted.get(name)
        if converted is None or converted.namespace is None:
            return
        members = self._members[converted.namespace]
        members.discard(name)
        if not members:
            del self._members[converted.namespace]
