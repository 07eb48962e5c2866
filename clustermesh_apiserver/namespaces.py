"""Which namespaces take part in the mesh (spec 5.3). Pure.

An annotation on the Namespace decides; without it, and for a namespace that nobody has shown us, the
cluster's default does. Node records know no namespace and are always exported.
"""

from __future__ import annotations

from collections.abc import Mapping

from k8s.objects import Namespace
from k8s.watch import ObjectDelta

GLOBAL_ANNOTATION = "clustermesh.cilium.io/global"


class GlobalNamespaces:
    """Folds Namespace objects into one answer a name."""

    def __init__(self, default: bool = True) -> None:
        self._default = default
        self._answers: dict[str, bool] = {}  # only where the annotation says something

    def __contains__(self, namespace: str) -> bool:
        return self._answers.get(namespace, self._default)

    def apply(self, delta: ObjectDelta[Namespace]) -> set[str]:
        """The names of the namespaces whose answer changed."""
        touched = {*delta.removes, *delta.upserts}
        before = {name: name in self for name in touched}
        for name in delta.removes:
            self._answers.pop(name, None)
        for name, namespace in delta.upserts.items():
            answer = _answer(namespace.metadata.annotations)
            if answer is None:
                self._answers.pop(name, None)
            else:
                self._answers[name] = answer
        return {name for name in touched if (name in self) != before[name]}


def _answer(annotations: Mapping[str, str]) -> bool | None:
    value = annotations.get(GLOBAL_ANNOTATION)
    return None if value is None else value.lower() == "true"
