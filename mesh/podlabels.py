"""Which labels make a pod's identity (spec 2.7).

Labels that differ between pods of one workload, or that change with every roll-out, are left out: each of
them would cost every peer one identity per pod. The default is the one that Cilium uses, because equal pods
must get equal label sets in every cluster of a mesh.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.errors import MeshError
from mesh.identity import CLUSTER_LABEL, K8S, NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL, Label, Labels

NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
_CILIUMS_OWN = "io.cilium.k8s."  # cannot be set by a pod

_LEFT_OUT = (
    r"io\.kubernetes",
    r"kubernetes\.io",
    r".*beta\.kubernetes\.io",
    r"k8s\.io",
    r".*\.k8s\.io",
    r"pod-template-generation$",
    r"pod-template-hash$",
    r"controller-revision-hash$",
    r"controller-uid$",
    r"annotation\.",
    r"etcd_node$",
    r"batch\.kubernetes\.io/",
    r"apps\.kubernetes\.io/pod-index$",
    r"statefulset\.kubernetes\.io/pod-name$",
    r"topology\.kubernetes\.io/",
)


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Patterns that a label's key begins with; the longer match wins. No `includes`: all but `excludes`."""

    includes: tuple[re.Pattern[str], ...] = ()
    excludes: tuple[re.Pattern[str], ...] = tuple(re.compile(pattern) for pattern in _LEFT_OUT)

    def keeps(self, key: str) -> bool:
        included, excluded = _longest(self.includes, key), _longest(self.excludes, key)
        if self.includes:
            return included > excluded
        return excluded < 0


DEFAULT_FILTER = LabelFilter()


def parse_filter(text: str) -> LabelFilter:
    """Cilium's `labels` option: patterns between spaces, `!` before those to leave out, `k8s:` allowed before
    each. They come on top of the default exclusions. Raises MeshError."""
    includes: list[re.Pattern[str]] = []
    excludes: list[re.Pattern[str]] = []
    for item in text.split():
        chosen = excludes if item.startswith("!") else includes
        pattern = item.removeprefix("!").removeprefix(f"{K8S}:")
        try:
            chosen.append(re.compile(pattern))
        except re.error as error:
            raise MeshError(f"label pattern {item!r}: {error}") from error
        if not pattern:
            raise MeshError(f"label pattern {item!r} is empty")
    return LabelFilter(tuple(includes), (*DEFAULT_FILTER.excludes, *excludes))


def pod_labels(
    pod: Mapping[str, str],
    *,
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str,
    cluster: str,
    chosen_by: LabelFilter = DEFAULT_FILTER,
) -> Labels:
    """The identity labels of a pod. Cilium's own keys cannot be set by the pod."""
    chosen = {
        key: value
        for key, value in pod.items()
        if chosen_by.keeps(key) and ";" not in value and not key.startswith(_CILIUMS_OWN)
    }
    chosen.update({f"{NAMESPACE_LABELS}.{key}": value for key, value in namespace_labels.items()})
    chosen[f"{NAMESPACE_LABELS}.kubernetes.io/metadata.name"] = namespace
    chosen[NAMESPACE_LABEL] = namespace
    chosen[CLUSTER_LABEL] = cluster
    if service_account:
        chosen[SERVICE_ACCOUNT_LABEL] = service_account
    return tuple(Label(K8S, key, chosen[key]) for key in sorted(chosen))


def _longest(patterns: tuple[re.Pattern[str], ...], key: str) -> int:
    """The length of the longest match at the key's beginning; -1 for none."""
    return max((match.end() for pattern in patterns if (match := pattern.match(key))), default=-1)
