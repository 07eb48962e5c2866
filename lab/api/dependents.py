"""What goes with a deleted object. Pure: looks at the stored objects, deletes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.api.collection import Stored
from lab.api.kinds import CRD, NAMESPACE, from_definition


def with_dependents(roots: Sequence[Stored], everything: Iterable[Stored], *, orphan: bool) -> list[Stored]:
    """The roots and all that belongs to them, owners first: a controller that still saw an owner would
    make the deleted dependents anew.

    With `orphan` owner references are not followed. A dependent with another, living owner stays.
    """
    everything = list(everything)
    doomed = {stored.key: stored for stored in roots}
    living = {stored.body["metadata"]["uid"] for stored in everything}
    todo = list(roots)
    while todo:
        dying = {stored.body["metadata"]["uid"] for stored in todo}
        living -= dying
        owned = [] if orphan else [entry for entry in everything if _is_left_alone(entry, dying, living)]
        containers = [stored for stored in todo if stored.key.startswith((NAMESPACE.prefix, CRD.prefix))]
        contained = [entry for entry in everything if any(_contains(stored, entry) for stored in containers)]
        todo = [entry for entry in (*contained, *owned) if entry.key not in doomed]
        doomed |= {entry.key: entry for entry in todo}
        todo = [entry for entry in todo if not entry.body["metadata"].get("finalizers")]
    return list(doomed.values())


def _is_left_alone(entry: Stored, dying: set[str], living: set[str]) -> bool:
    owners = {owner.get("uid") for owner in entry.body["metadata"].get("ownerReferences") or ()}
    return bool(owners & dying) and not owners & living


def _contains(container: Stored, entry: Stored) -> bool:
    if container.key.startswith(NAMESPACE.prefix):
        return bool(entry.body["metadata"].get("namespace") == container.body["metadata"]["name"])
    return any(entry.key.startswith(kind.prefix) for kind in from_definition(container.body))
