"""Which labels make a pod's identity (spec 2.7). Pure.

Labels that differ between pods of one workload, or that change with every roll-out, are left out: each of
them would cost every peer one identity per pod. The list is the one that Cilium uses by default, because
equal pods must get equal label sets in every cluster of a mesh.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mesh.identity import Label, Labels, parse_labels

CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
K8S = "k8s"

_LEFT_OUT = re.compile(
    r"""^(?:
        io\.kubernetes | kubernetes\.io | .*beta\.kubernetes\.io | k8s\.io | .*\.k8s\.io
        | pod-template-generation$ | pod-template-hash$ | controller-revision-hash$ | controller-uid$
        | annotation\. | etcd_node$
        | batch\.kubernetes\.io/ | apps\.kubernetes\.io/pod-index$
        | statefulset\.kubernetes\.io/pod-name$ | topology\.kubernetes\.io/
    )""",
    re.VERBOSE,
)


def pod_labels(
    pod: Mapping[str, str],
    *,
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str,
    cluster: str,
) -> Labels:
    """The identity labels of a pod. Cilium's own keys cannot be set by the pod."""
    chosen = {key: value for key, value in pod.items() if not _LEFT_OUT.match(key) and ";" not in value}
    chosen = {key: value for key, value in chosen.items() if not key.startswith("io.cilium.k8s.")}
    chosen.update({f"{NAMESPACE_LABELS}.{key}": value for key, value in namespace_labels.items()})
    chosen[f"{NAMESPACE_LABELS}.kubernetes.io/metadata.name"] = namespace
    chosen[NAMESPACE] = namespace
    chosen[CLUSTER] = cluster
    if service_account:
        chosen[SERVICE_ACCOUNT] = service_account
    return tuple(Label(K8S, key, chosen[key]) for key in sorted(chosen))


def security_labels(labels: Labels) -> dict[str, str]:
    """As a CiliumIdentity object carries them."""
    return {f"{label.source}:{label.key}": label.value for label in labels}


def from_security_labels(pairs: Mapping[str, str]) -> Labels:
    labels = []
    for name, value in pairs.items():
        source, _, key = name.partition(":")
        labels.append(Label(source, key, value))
    return tuple(sorted(labels, key=lambda label: label.key))


def texts(labels: Labels) -> list[str]:
    """One "source:key=value" a label, as APIs show them."""
    return [f"{label.source}:{label.key}={label.value}" for label in labels]


def from_texts(items: list[str]) -> Labels:
    return parse_labels("".join(f"{item};" for item in items))
