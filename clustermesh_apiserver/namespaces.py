"""Which namespaces take part in the mesh (spec 5.3). Pure.

An annotation on the Namespace decides; without it, and for a namespace that nobody has shown us, the
cluster's default does. Node records know no namespace and are always exported.
"""

from __future__ import annotations

from k8s.core import Namespace
from k8s.share import is_global_namespace
from k8s.watch import ObjectDelta


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
            answer = is_global_namespace(namespace.metadata.annotations)
            if answer is None:
                self._answers.pop(name, None)
            else:
                self._answers[name] = answer
        return {name for name in touched if (name in self) != before[name]}
