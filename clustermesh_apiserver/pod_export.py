"""IPs of clusters that do not run Cilium: from Pods, Namespaces and the numbers of their label sets. Pure.

A pod's labels and its namespace's make its identity; who hands out the numbers is told what is `wanted` and
tells `numbers` when there are some. Promises: as `object_export`, whatever the order in which pods,
namespaces and numbers come. A pod on its node's network, or one that has ended, has no address of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clustermesh_apiserver.convert import Converted, Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported, ObjectExport
from k8s.cilium import CiliumIdentity, CoreEndpoint, EndpointNetworking, IPPair
from k8s.core import Namespace, Pod
from k8s.watch import ObjectDelta
from mesh.identity import labels_text
from mesh.podlabels import LabelFilter, pod_labels

ENDED = frozenset({"Succeeded", "Failed"})


class PodExport:
    """Folds deltas of pods, namespaces and numbers into changes of keys."""

    def __init__(
        self, converter: Converter, cluster: str, namespaces: GlobalNamespaces, chosen_by: LabelFilter
    ) -> None:
        self._converter = converter
        self._cluster = cluster
        self._namespaces = namespaces
        self._chosen_by = chosen_by
        self._export: ObjectExport[Pod] = ObjectExport(self._convert, namespaces)
        self._pods: dict[str, Pod] = {}  # that have addresses of their own
        self._texts: dict[str, str] = {}  # pod -> its identity's labels
        self._users: dict[str, set[str]] = {}  # labels -> pods
        self._namespace_labels: dict[str, Mapping[str, str]] = {}
        self._numbers: dict[str, int] = {}  # labels' text -> identity
        self._last: dict[str, int] = {}  # pod -> the identity that peers know it by

    @property
    def wanted(self) -> set[str]:
        """The label sets that need a number: those of pods that are exported."""
        return {text for text, users in self._users.items() if self._is_exported(next(iter(users)))}

    def pairs(self) -> dict[bytes, bytes]:
        return self._export.pairs()

    def refused(self) -> int:
        return self._export.refused()

    def pods(self, delta: ObjectDelta[Pod]) -> Exported:
        own = {name: pod for name, pod in delta.upserts.items() if _has_own_address(pod)}
        gone = {*delta.removes, *(delta.upserts.keys() - own.keys())}
        for name in gone:
            self._set_text(name, None)
            self._pods.pop(name, None)
            self._last.pop(name, None)
        self._pods.update(own)
        self._relabel(own)
        return self._export.objects(ObjectDelta(own, gone))

    def namespaces(self, delta: ObjectDelta[Namespace]) -> Exported:
        before = {name: self._namespace_labels.get(name, {}) for name in (*delta.removes, *delta.upserts)}
        for name in delta.removes:
            self._namespace_labels.pop(name, None)
        for name, namespace in delta.upserts.items():
            self._namespace_labels[name] = namespace.metadata.labels
        exported = self._export.namespaces(delta)
        changed = {name for name, labels in before.items() if self._namespace_labels.get(name, {}) != labels}
        members = [name for name, pod in self._pods.items() if pod.metadata.namespace in changed]
        self._relabel(members)
        return _merged(exported, self._again(members))

    def numbers(self, delta: ObjectDelta[CiliumIdentity]) -> Exported:
        """Label sets by their text, with the number as the object's name."""
        for text in delta.removes:
            self._numbers.pop(text, None)
        for text, item in delta.upserts.items():
            self._numbers[text] = int(item.metadata.name)
        touched = {*delta.removes, *delta.upserts}
        return self._again(name for text in touched for name in self._users.get(text, ()))

    def _relabel(self, names: Iterable[str]) -> None:
        for name in names:
            pod = self._pods[name]
            namespace = pod.metadata.namespace
            labels = pod_labels(
                pod.metadata.labels,
                namespace=namespace,
                namespace_labels=self._namespace_labels.get(namespace, {}),
                service_account=pod.spec.serviceAccountName,
                cluster=self._cluster,
                chosen_by=self._chosen_by,
            )
            self._set_text(name, labels_text(labels))

    def _set_text(self, name: str, text: str | None) -> None:
        old = self._texts.pop(name, None)
        if old is not None:
            self._users[old].discard(name)
            if not self._users[old]:
                del self._users[old]
        if text is not None:
            self._texts[name] = text
            self._users.setdefault(text, set()).add(name)

    def _is_exported(self, name: str) -> bool:
        """A label set names its namespace, so all its users are in one."""
        return self._pods[name].metadata.namespace in self._namespaces

    def _again(self, names: Iterable[str]) -> Exported:
        return self._export.objects(ObjectDelta({name: self._pods[name] for name in names}))

    def _convert(self, pod: Pod) -> Converted:
        """Nothing while its label set has no number: peers could not tell who it is. A pod whose labels
        change stays who it was until its new number is there."""
        name = pod.metadata.key
        number = self._numbers.get(self._texts[name], self._last.get(name))
        if number is None:
            return Converted(pod.metadata.namespace, {})
        self._last[name] = number
        addresses = [each.ip for each in pod.status.podIPs] or [pod.status.podIP]
        pairs = tuple(IPPair(ipv6=ip) if ":" in ip else IPPair(ipv4=ip) for ip in addresses)
        networking = EndpointNetworking(pairs, pod.status.hostIP)
        core = CoreEndpoint(
            pod.metadata.name, number, networking, service_account=pod.spec.serviceAccountName
        )
        return Converted(pod.metadata.namespace, self._converter.addresses(pod.metadata.namespace, core))


def _has_own_address(pod: Pod) -> bool:
    status = pod.status
    has_address = bool((status.podIPs or status.podIP) and status.hostIP)
    return has_address and not pod.spec.hostNetwork and status.phase not in ENDED


def _merged(one: Exported, other: Exported) -> Exported:
    return Exported({**one.changes, **other.changes}, {**one.refused, **other.refused})
