"""Conditions of ServiceExports and ServiceImports (spec 5.6). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from k8s.objects import Condition
from k8s.share import Invalid
from mesh.mcs import Conflict


class Pending(Enum):
    """Why a ServiceImport is not ready."""

    WAITING = "Pending"
    NAMESPACE = "NamespaceNotGlobal"
    IP_FAMILY = "IPFamilyNotSupported"


VALID, READY, CONFLICT = "Valid", "Ready", "Conflict"

_INVALID = {
    Invalid.NO_SERVICE: "there is no Service of this name",
    Invalid.SERVICE_TYPE: "a Service of type ExternalName cannot be exported",
    Invalid.NAMESPACE: "the namespace takes no part in the mesh",
}
_PENDING = {
    Pending.WAITING: "waiting for the derived Service",
    Pending.NAMESPACE: "the namespace takes no part in the mesh",
    Pending.IP_FAMILY: "this cluster has none of the service's IP families",
}


def valid(problem: Invalid | None) -> Condition:
    if problem is None:
        return Condition(VALID, "True", "Valid", "the Service can be exported")
    return Condition(VALID, "False", problem.value, _INVALID[problem])


def exported(*, is_imported: bool) -> Condition:
    """Of a ServiceExport."""
    if is_imported:
        return Condition(READY, "True", "Ready", "the Service is exported")
    return Condition(READY, "False", "Pending", "the Service is not exported yet")


def conflicting(conflict: Conflict | None) -> Condition:
    if conflict is None:
        return Condition(CONFLICT, "False", "NoConflicts", "all clusters export the same")
    return Condition(CONFLICT, "True", conflict.reason.value, conflict.message)


def imported(pending: Pending | None) -> Condition:
    """Of a ServiceImport."""
    if pending is None:
        return Condition(READY, "True", "Ready", "the service can be used")
    return Condition(READY, "False", pending.value, _PENDING[pending])


def merged(
    current: Iterable[Condition], wanted: Sequence[Condition], *, drop: str = "", generation: int, now: str
) -> tuple[Condition, ...]:
    """`wanted` in place of those of their types, others kept; a time changes only with its status."""
    kept = {condition.type: condition for condition in current if condition.type != drop}
    for condition in wanted:
        old = kept.get(condition.type)
        since = old.lastTransitionTime if old and old.status == condition.status else ""
        kept[condition.type] = Condition(
            condition.type, condition.status, condition.reason, condition.message, since or now, generation
        )
    return tuple(kept.values())


def bodies(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": condition.lastTransitionTime,
            "observedGeneration": condition.observedGeneration,
        }
        for condition in conditions
    ]
