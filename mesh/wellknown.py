"""Identities that need no allocation: reserved, well-known and fixed ones (spec 1.2, 1.3).

Reserved: what is no pod. Well-known: infrastructure pods whose exact label set has one number in every
cluster; Cilium uses them only when told to. Fixed: numbers that a cluster's configuration gives to pods with
the label `io.cilium.fixed-identity`. All of them are below `FIRST_ALLOCATED` and never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mesh.addressing import FIRST_ALLOCATED, ClusterName, Identity, ReservedIdentity
from mesh.errors import MeshError
from mesh.identity import (
    CLUSTER_LABEL,
    K8S,
    NAMESPACE_LABEL,
    NAMESPACE_NAME_LABEL,
    RESERVED,
    SERVICE_ACCOUNT_LABEL,
    Label,
    Labels,
    reserved_labels,
)

FIXED_LABEL = "io.cilium.fixed-identity"
FIRST_FIXED = Identity(128)

_FIRST_WELL_KNOWN = 100
_SYSTEM = "kube-system"
_OWN = ""  # where Cilium itself runs


class _Component(NamedTuple):
    service_account: str
    namespace: str
    labels: Mapping[str, str]


# in the order of their numbers; the deprecated ones keep theirs
_COMPONENTS = (
    _Component("cilium-etcd-sa", _OWN, {"io.cilium/app": "etcd-operator"}),
    _Component(
        "default",
        _OWN,
        {"app": "etcd", "etcd_cluster": "cilium-etcd", "io.cilium/app": "etcd-operator"},
    ),
    _Component("kube-dns", _SYSTEM, {"k8s-app": "kube-dns"}),
    _Component("kube-dns", _SYSTEM, {"k8s-app": "kube-dns", "eks.amazonaws.com/component": "kube-dns"}),
    _Component("coredns", _SYSTEM, {"k8s-app": "kube-dns"}),
    _Component(
        "cilium-operator",
        _OWN,
        {
            "name": "cilium-operator",
            "io.cilium/app": "operator",
            "app.kubernetes.io/part-of": "cilium",
            "app.kubernetes.io/name": "cilium-operator",
        },
    ),
    _Component("coredns", _SYSTEM, {"k8s-app": "kube-dns", "eks.amazonaws.com/component": "coredns"}),
    _Component(
        "cilium-etcd-operator",
        _OWN,
        {
            "name": "cilium-etcd-operator",
            "io.cilium/app": "etcd-operator",
            # a slip of Cilium's that no pod's labels can match: these two are keys without a value
            "app.kubernetes.io/name: cilium-etcd-operator": "",
            "app.kubernetes.io/part-of: cilium": "",
        },
    ),
)


def well_known(cluster: ClusterName, namespace: str = _SYSTEM) -> dict[Identity, Labels]:
    """The label sets in `cluster`, whose Cilium runs in `namespace`."""
    found: dict[Identity, Labels] = {}
    for number, component in enumerate(_COMPONENTS, start=_FIRST_WELL_KNOWN):
        home = component.namespace or namespace
        texts = {
            **component.labels,
            NAMESPACE_LABEL: home,
            SERVICE_ACCOUNT_LABEL: component.service_account,
            CLUSTER_LABEL: cluster,
        }
        found[Identity(number)] = _labels(texts)
        found[Identity(number + len(_COMPONENTS))] = _labels(texts | {NAMESPACE_NAME_LABEL: home})
    return found


def _labels(texts: Mapping[str, str]) -> Labels:
    return tuple(Label(K8S, key, texts[key]) for key in sorted(texts))


@dataclass(frozen=True, slots=True)
class Unallocated:
    """The identities of one cluster that are not in its etcd.

    `known` are the well-known ones, where the cluster uses them; `fixed` the names that its configuration
    gives to numbers 128..255.
    """

    known: Mapping[Identity, Labels] = field(default_factory=dict)
    fixed: Mapping[Identity, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, name in self.fixed.items():
            if not FIRST_FIXED <= number < FIRST_ALLOCATED:
                raise MeshError(
                    f"fixed identity {number} of {name!r} is not in {FIRST_FIXED}..{FIRST_ALLOCATED - 1}"
                )

    def labels(self, identity: int) -> Labels:
        """What the number means; empty when it is an allocated one, or means nothing."""
        number = Identity(identity)
        if number in self.fixed:
            return (Label(RESERVED, self.fixed[number]),)
        return self.known.get(number) or reserved_labels(number)

    def identity(self, labels: Iterable[Label]) -> Identity | None:
        """The number that a label set has without being allocated one."""
        wanted = tuple(sorted(labels, key=lambda label: label.key))
        for number, own in self.known.items():
            if own == wanted:
                return number
        names = {label.value for label in wanted if label.key == FIXED_LABEL}
        for number, name in self.fixed.items():
            if name in names:
                return number
        reserved = (Identity(number) for number in ReservedIdentity if number)
        return next((number for number in reserved if reserved_labels(number) == wanted), None)


def parse_fixed(text: str) -> dict[Identity, str]:
    """The option `fixed-identity-mapping`: `128=kv-store,129=kube-dns`. MeshError when it is none."""
    found: dict[Identity, str] = {}
    for item in filter(None, text.split(",")):
        number, _, name = item.partition("=")
        if not (number.isascii() and number.isdecimal() and len(number) <= 3 and name):
            raise MeshError(f"fixed identity {item[:64]!r} is not <number>=<label>")
        found[Identity(int(number))] = name
    Unallocated(fixed=found)  # refuses what is out of range
    return found
