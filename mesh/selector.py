"""Label selectors as CiliumNetworkPolicies write them: which label sets do they mean? Pure.

A key may name its source (`k8s:app`); without one, or with `any`, every source matches. Operators have
Kubernetes' meaning: NotIn also selects what has no such label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mesh.errors import PolicyError
from mesh.identity import CLUSTER_LABEL, K8S, NAMESPACE_LABEL, RESERVED, Label, Labels

ANY_SOURCE = "any"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
_OPERATORS: dict[str, Operator] = {
    "In": "In",
    "NotIn": "NotIn",
    "Exists": "Exists",
    "DoesNotExist": "DoesNotExist",
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label must be."""

    source: str
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        found = [label.value for label in labels if self._names(label)]
        match self.operator:
            case "Exists":
                return bool(found)
            case "DoesNotExist":
                return not found
            case "In":
                return not self.values.isdisjoint(found)
            case "NotIn":
                return self.values.isdisjoint(found)

    def _names(self, label: Label) -> bool:
        return label.key == self.key and self.source in (ANY_SOURCE, label.source)


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements hold. `own_cluster`: besides, the label set is of the cluster that asks."""

    requirements: tuple[Requirement, ...] = ()
    own_cluster: bool = False

    def matches(self, labels: Labels) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def is_reserved(self) -> bool:
        """Asks for a reserved label; such label sets have neither namespace nor cluster."""
        return any(requirement.source == RESERVED for requirement in self.requirements)

    @property
    def names_cluster(self) -> bool:
        return any(requirement.key == CLUSTER_LABEL for requirement in self.requirements)

    @property
    def names_namespace(self) -> bool:
        return any(
            requirement.key == NAMESPACE_LABEL or requirement.key.startswith(NAMESPACE_LABELS)
            for requirement in self.requirements
        )

    def with_label(self, key: str, value: str) -> Selector:
        """Besides, the Kubernetes label `key` is `value`, whatever was asked of it before."""
        others = tuple(requirement for requirement in self.requirements if requirement.key != key)
        wanted = Requirement(K8S, key, "In", frozenset({value}))
        return replace(self, requirements=(*others, wanted))

    def with_any(self, key: str) -> Selector:
        """Besides, the Kubernetes label `key` exists."""
        return replace(self, requirements=(*self.requirements, Requirement(K8S, key, "Exists")))

    def in_namespaces(self, namespaces: Selector) -> Selector:
        """Besides, the namespace has the labels that `namespaces` asks for."""
        asked = (
            replace(each, source=K8S, key=NAMESPACE_LABELS + each.key) for each in namespaces.requirements
        )
        return replace(self, requirements=(*self.requirements, *asked)).with_any(NAMESPACE_LABEL)


def parse_selector(said: object) -> Selector:
    """PolicyError for what is no selector. An empty one selects everything."""
    if not isinstance(said, Mapping):
        raise PolicyError(f"a selector must be an object, not {type(said).__name__}")
    labels = {} if said.get("matchLabels") is None else said["matchLabels"]
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise PolicyError("matchLabels must be an object of texts")
    equal = (_requirement(key, "In", [value]) for key, value in sorted(labels.items()))
    expressions = [] if said.get("matchExpressions") is None else said["matchExpressions"]
    if not isinstance(expressions, list):
        raise PolicyError("matchExpressions must be a list")
    return Selector((*equal, *map(_expression, expressions)))


def _expression(said: Any) -> Requirement:
    if not isinstance(said, Mapping) or not isinstance(said.get("key"), str):
        raise PolicyError("a match expression needs a key")
    operator = _OPERATORS.get(str(said.get("operator")))
    values = said.get("values") or []
    if operator is None or not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise PolicyError(
            f"match expression on {said['key']!r}: unknown operator or values that are no texts"
        )
    if (operator in ("In", "NotIn")) != bool(values):
        raise PolicyError(f"match expression on {said['key']!r}: {operator} and its values do not fit")
    return _requirement(said["key"], operator, values)


def _requirement(text: str, operator: Operator, values: Iterable[str]) -> Requirement:
    source, colon, key = text.partition(":")
    if not colon:
        source, key = ANY_SOURCE, text
    return Requirement(source, key, operator, frozenset(values))
