"""Create, change and delete objects: the rules of `api_meta`, defaults and admission around each write.

Every operation reads, decides and writes under the store's lock, so admission sees a settled picture.
A delete takes along what belongs to the object: a namespace's content, a definition's objects, dependents
by owner reference. There is no graceful termination; finalizers hold an object back as in Kubernetes.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from lab.api import meta
from lab.api.collection import Stored, from_value, stored_value, within
from lab.api.defaults import with_defaults
from lab.api.dependents import with_dependents
from lab.api.kinds import CRD, NAMESPACE, Kind, Kinds
from lab.api.services import Admission
from lab.api.status import StatusError, already_exists, bad_request, not_found
from lab.api.store import OutdatedError, Store

Json = dict[str, Any]
Edit = Callable[[Json], Json]

ATTEMPTS = 5  # when somebody else writes to our etcd
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no words, nothing easily confused
FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Where:
    """One object's place, and how a write to it is meant."""

    kind: Kind
    namespace: str
    name: str = ""
    subresource: str = ""
    dry_run: bool = False


class Objects:
    """All writes of the API."""

    def __init__(self, store: Store, admissions: Sequence[Admission]) -> None:
        self._store = store
        self._admissions = admissions
        self._kinds = Kinds()
        self._kinds_seen = -1

    @property
    def kinds(self) -> Kinds:
        """The kinds served now; built anew after a change of the definitions, whoever made it."""
        definitions = self._store.of_kind(CRD)
        if self._kinds_seen != definitions.next_number:
            self._kinds = Kinds(stored.body for stored in definitions.objects.values())
            self._kinds_seen = definitions.next_number
        return self._kinds

    async def ensure_namespaces(self) -> None:
        for name in FIRST_NAMESPACES:
            if self._store.get(NAMESPACE, "", name) is None:
                await self.create(Where(NAMESPACE, ""), {"metadata": {"name": name}})

    async def create(self, where: Where, body: Any) -> Stored:
        return await self._decided(lambda: self._create(where, body))

    async def update(self, where: Where, edit: Edit, *, or_create: bool = False) -> tuple[Stored, bool]:
        """Edit the object, or with `or_create` an empty one; the result and whether it is new."""

        async def decide() -> tuple[Stored, bool]:
            old = self._store.get(where.kind, where.namespace, where.name)
            if old is not None:
                return await self._update(where, old, edit), False
            if not or_create:
                raise _not_found(where)
            return await self._create(where, edit({"metadata": {"name": where.name}})), True

        return await self._decided(decide)

    async def delete(self, where: Where, options: Json) -> Stored:
        """The object as it was, or as it waits for its finalizers."""

        async def decide() -> Stored:
            stored = self._store.get(where.kind, where.namespace, where.name)
            if stored is None:
                raise _not_found(where)
            meta.check_preconditions(where.kind, stored.body, options)
            return stored if where.dry_run else (await self._delete([stored], options))[0]

        return await self._decided(decide)

    async def delete_collection(
        self, where: Where, options: Json, wanted: Callable[[Json], bool] | None
    ) -> list[Stored]:
        async def decide() -> list[Stored]:
            prefix = where.kind.key(where.namespace, "") if where.namespace else where.kind.prefix
            roots = list(within(prefix, self._store.of_kind(where.kind).objects, wanted))
            return roots if where.dry_run else await self._delete(roots, options)

        return await self._decided(decide)

    async def _decided(self, decide: Callable[[], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS):
            async with self._store.writing():
                try:
                    return await decide()
                except OutdatedError as error:
                    log.info("deciding anew: %s", error)
        raise StatusError(500, "InternalError", "the registry keeps changing under this request")

    async def _create(self, where: Where, body: Any) -> Stored:
        kind = where.kind
        if kind.resource.namespaced:
            self._check_namespace(where.namespace)
        birth = meta.Birth(
            str(uuid.uuid4()), _timestamp(), "".join(secrets.choice(_SUFFIX) for _ in range(5))
        )
        new = meta.new_object(kind, meta.check_identity(kind, body, where.namespace), birth)
        name = new["metadata"]["name"]
        if where.name and name != where.name:
            raise bad_request(f"the name of the object ({name}) does not match the URL ({where.name})")
        if self._store.get(kind, where.namespace, name) is not None:
            raise already_exists(kind.plural, kind.group, name)
        new = self._completed(kind, new, None)
        key = kind.key(where.namespace, name)
        return _imagined(key, new, 0) if where.dry_run else await self._store.put(key, new, None)

    async def _update(self, where: Where, old: Stored, edit: Edit) -> Stored:
        kind = where.kind
        before = {**old.copy(), "apiVersion": kind.resource.api_version}
        asked = meta.check_identity(kind, edit(before), where.namespace)
        changed = meta.changed_object(kind, old.body, asked, subresource=where.subresource)
        if not where.subresource:
            changed = self._completed(kind, changed, old)
        changed = meta.with_generation(kind, old.body, {**changed, "apiVersion": kind.storage_version})
        if changed == old.body:
            return old
        if where.dry_run:
            return _imagined(old.key, changed, old.revision)
        if meta.is_finished(changed):
            return (await self._remove([old]))[0]
        return await self._store.put(old.key, changed, old)

    async def _delete(self, roots: Sequence[Stored], options: Json) -> list[Stored]:
        """The roots as they were, or are now if finalizers hold them."""
        orphan = options.get("propagationPolicy") == "Orphan" or bool(options.get("orphanDependents"))
        results = [await self._mark(stored) for stored in roots if _is_held(stored)]
        free = [stored for stored in roots if not _is_held(stored)]
        return results + await self._remove(free, orphan=orphan)

    async def _remove(self, roots: Sequence[Stored], *, orphan: bool = False) -> list[Stored]:
        """Delete the roots, and of what belongs to them everything that no finalizer holds."""
        doomed = with_dependents(roots, self._everything(), orphan=orphan) if roots else []
        dependents = doomed[len(roots) :]
        for stored in filter(_is_held, dependents):
            await self._mark(stored)
        free = [stored for stored in dependents if not _is_held(stored)]
        gone = await self._store.delete([*roots, *free])
        return gone[: len(roots)]

    async def _mark(self, stored: Stored) -> Stored:
        marked = meta.marked_deleted(stored.body, _timestamp())
        return stored if marked is stored.body else await self._store.put(stored.key, marked, stored)

    def _completed(self, kind: Kind, new: Json, old: Stored | None) -> Json:
        new = with_defaults(kind, {**new, "apiVersion": kind.storage_version}, timestamp=_timestamp())
        others = self._store.of_kind(kind).objects.values()
        for admit in self._admissions:
            new = admit(
                kind,
                new,
                old.body if old else None,
                lambda: (stored.body for stored in others if stored is not old),
            )
        return new

    def _check_namespace(self, name: str) -> None:
        namespace = self._store.get(NAMESPACE, "", name)
        if namespace is None:
            raise not_found("namespaces", "", name)
        if "deletionTimestamp" in namespace.body["metadata"]:
            message = f"unable to create new content in namespace {name} because it is being terminated"
            raise StatusError(403, "Forbidden", message)

    def _everything(self) -> Iterable[Stored]:
        for collection in self._store.collections():
            yield from collection.objects.values()


def _is_held(stored: Stored) -> bool:
    return bool(stored.body["metadata"].get("finalizers"))


def _imagined(key: bytes, body: Json, revision: int) -> Stored:
    """What a dry run would have stored."""
    return from_value(key, stored_value(body), revision)


def _not_found(where: Where) -> StatusError:
    return not_found(where.kind.plural, where.kind.group, where.name)


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
