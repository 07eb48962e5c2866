"""What was found on the way to one etcd, step by step. Pure.

`as_text` is laid out like Cilium's troubleshoot commands; `as_objects` is for `-o json`. Nothing here holds
keys or values of an etcd, nor private keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Section(Enum):
    CONFIGURATION = "📄 Configuration"
    ENDPOINTS = "🔌 Endpoints"
    CERTIFICATES = "🔑 Digital certificates"
    CLIENT = "⚙️ Etcd client"


@dataclass(frozen=True, slots=True)
class Check:
    """One step. `ok` None: a fact, neither good nor bad."""

    section: Section
    ok: bool | None
    text: str
    details: tuple[str, ...] = ()


@dataclass(slots=True)
class Diagnosis:
    """Everything about one etcd. `name` is the cluster's, or what the etcd is for."""

    name: str
    path: str
    checks: list[Check] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return all(check.ok is not False for check in self.checks)

    def note(self, section: Section, ok: bool | None, text: str, details: Sequence[str] = ()) -> None:
        self.checks.append(Check(section, ok, text, tuple(details)))


_MARKS = {True: "✅", False: "❌", None: "\N{INFORMATION SOURCE}\ufe0f "}


def as_text(found: Sequence[Diagnosis]) -> str:
    return "\n".join(line.rstrip() for diagnosis in found for line in _lines(diagnosis))


def as_objects(found: Iterable[Diagnosis]) -> list[dict[str, Any]]:
    return [
        {
            "name": diagnosis.name,
            "path": diagnosis.path,
            "ok": diagnosis.is_well,
            "checks": [
                {
                    "section": check.section.name.lower(),
                    **({} if check.ok is None else {"ok": check.ok}),
                    "text": check.text,
                    **({"details": list(check.details)} if check.details else {}),
                }
                for check in diagnosis.checks
            ],
        }
        for diagnosis in found
    ]


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield f'Cluster "{diagnosis.name}":'
    for section in Section:
        checks = [check for check in diagnosis.checks if check.section is section]
        path = f" path: {diagnosis.path}" if section is Section.CONFIGURATION else ""
        if checks or path:
            yield f"{section.value}{path or ':'}"
        for check in checks:
            yield f"   {_MARKS[check.ok]} {check.text}"
            yield from (f"      {line}" for line in check.details)
        if checks or path:
            yield ""
