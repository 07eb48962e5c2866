"""Verdicts on services, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.check import Check
from cli.serviceverdict import MeshService, Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """One service, what each cluster does for it, and on how many of the `asked` nodes each serves."""

    service: MeshService
    verdicts: Sequence[Verdict]
    serving: Mapping[str, int]
    asked: int

    @property
    def is_served(self) -> bool:
        return any(verdict.serves for verdict in self.verdicts)


def as_text(judged: Judged) -> str:
    service, own = judged.service, judged.verdicts[0].cluster
    said = [
        "global" if service.is_global else "not global",
        "shared" if service.shared else "not shared",
        *([service.preference] if service.preference else []),
    ]
    lines = [f"{service.key} in {own}: {', '.join(said) if service.exists else 'no such Service'}", ""]
    rows = [("CLUSTER", "SERVES", "BACKENDS", "USED", "NODES", "WHY")]
    rows += [
        (
            each.cluster,
            "yes" if each.serves else "no",
            str(each.share.backends),
            str(each.share.used),
            f"{judged.serving.get(each.cluster, 0)}/{judged.asked}",
            each.note if each.serves else each.reason,
        )
        for each in judged.verdicts
    ]
    lines += table(rows)
    lines += [f"⚠️  {problem}" for problem in service.problems]
    mends = [each for each in judged.verdicts if each.check]
    if mends:
        lines += ["", *(f"🩺 {each.cluster}: {each.mend} ({_label(each)})" for each in mends)]
    return "\n".join(lines) + "\n"


def as_list(found: Sequence[Judged]) -> str:
    if not found:
        return "No service is global here, and no peer shares one\n"
    rows = [("NAMESPACE", "NAME", "GLOBAL", "SHARED", "SERVED BY", "TROUBLE")]
    for judged in found:
        service = judged.service
        served = [f"{each.cluster} {each.share.used}" for each in judged.verdicts if each.serves]
        rows.append(
            (
                service.namespace,
                service.name,
                "yes" if service.is_global else "no",
                "yes" if service.shared else "no",
                ", ".join(served) or "nobody",
                ", ".join(f"{each.cluster}: {_label(each)}" for each in troubles(judged)) or "-",
            )
        )
    return "\n".join(table(rows)) + "\n"


def troubles(judged: Judged) -> list[Verdict]:
    """Worth a look in a list. A peer that has nothing of a service is none, as long as another one has."""
    own, *peers = judged.verdicts
    has_others = any(each.share.backends for each in peers)
    found = [each for each in peers if each.check and (each.share.backends or not has_others)]
    if own.check and not has_others:
        found.insert(0, own)
    return [each for each in found if each.check is not Check.SERVICE_PREFERENCE]


def as_object(judged: Judged) -> dict[str, object]:
    service = judged.service
    return {
        "namespace": service.namespace,
        "name": service.name,
        "exists": service.exists,
        "global": service.is_global,
        "shared": service.shared,
        "preference": service.preference,
        "problems": list(service.problems),
        "served": judged.is_served,
        "clusters": [
            {
                "cluster": each.cluster,
                "serves": each.serves,
                "backends": each.share.backends,
                "used": each.share.used,
                "nodes": {"serving": judged.serving.get(each.cluster, 0), "asked": judged.asked},
                "check": _label(each),
                "reason": each.reason,
                "mend": each.mend,
                "note": each.note,
            }
            for each in judged.verdicts
        ],
    }


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _label(verdict: Verdict) -> str:
    return verdict.check.label if verdict.check else ""
