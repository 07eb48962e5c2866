"""Which identity an endpoint has: its pod's labels and its namespace's decide."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agent.allocator import Allocator
from agent.endpoints import Endpoint
from agent.labels import texts
from agent.podlookup import PodFacts, PodLookup
from mesh.addressing import PeerScope
from mesh.identity import Labels
from mesh.podlabels import pod_labels


class Identified(NamedTuple):
    identity: int
    labels: tuple[str, ...]
    facts: PodFacts


class PodIdentity:
    def __init__(self, pods: PodLookup, allocator: Allocator, cluster: PeerScope) -> None:
        self._pods = pods
        self._allocator = allocator
        self._cluster = cluster

    async def fetch(self, namespace: str, name: str) -> Identified:
        """As Kubernetes has the pod now. Raises KubernetesError, NotReadyError, AgentError."""
        facts = await self._pods.fetch(namespace, name)
        labels = self._labels(namespace, facts)
        return Identified(int(await self._allocator.allocate(labels)), tuple(texts(labels)), facts)

    async def relabelled(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint as its pod's and namespace's labels make it now, and its cluster's id, which may be
        another than when it was made; None while all is as it was, or the labels are another pod's.
        Raises KubernetesError, AgentError."""
        facts = self._pods.known(endpoint.namespace, endpoint.pod_name)
        if facts is None or facts.uid != endpoint.pod_uid:
            return None
        labels = self._labels(endpoint.namespace, facts)
        said = tuple(texts(labels))
        is_same = (said, facts.named_ports) == (endpoint.labels, endpoint.named_ports)
        if is_same and self._cluster.owns(endpoint.identity):
            return None
        identity = int(await self._allocator.allocate(labels))
        return msgspec.structs.replace(
            endpoint, identity=identity, labels=said, named_ports=facts.named_ports
        )

    def _labels(self, namespace: str, facts: PodFacts) -> Labels:
        return pod_labels(
            facts.labels,
            namespace=namespace,
            namespace_labels=facts.namespace_labels,
            service_account=facts.service_account,
            cluster=self._cluster.name,
        )
