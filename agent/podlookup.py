"""What an identity is made of: a pod's labels and its namespace's, asked of Kubernetes when they are
needed.

A plugin's request may come before our watch has shown the pod, or after a pod of the same name was
replaced; so a new endpoint is looked up freshly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from agent.errors import NotReadyError
from agent.k8s_sync import KubernetesView
from k8s.client import Client
from k8s.core import Namespace, Pod
from k8s.objects import decode
from k8s.resource import NAMESPACE, POD


@dataclass(frozen=True, slots=True)
class PodFacts:
    uid: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    service_account: str
    named_ports: tuple[tuple[str, str, int], ...] = ()


class PodLookup:
    def __init__(self, client: Client, view: KubernetesView) -> None:
        self._client = client
        self._view = view

    def known(self, namespace: str, name: str) -> PodFacts | None:
        """From the watches; None while they do not show both."""
        pod = self._view.pods.get(f"{namespace}/{name}")
        scope = self._view.namespaces.get(namespace)
        return _facts(pod, scope) if pod is not None and scope is not None else None

    async def fetch(self, namespace: str, name: str) -> PodFacts:
        """From the API server. Raises KubernetesError; NotReadyError when there is no such pod."""
        pod = await self._client.get(POD, name, namespace)
        scope = await self._client.get(NAMESPACE, namespace)
        if pod is None or scope is None:
            raise NotReadyError(f"Kubernetes does not know pod {namespace}/{name}")
        try:
            return _facts(decode(pod, Pod), decode(scope, Namespace))
        except msgspec.MsgspecError as error:
            raise NotReadyError(f"pod {namespace}/{name} cannot be read: {error}") from error


def _facts(pod: Pod, namespace: Namespace) -> PodFacts:
    return PodFacts(
        pod.metadata.uid,
        pod.metadata.labels,
        namespace.metadata.labels,
        pod.spec.serviceAccountName or "default",
        tuple(sorted(named_ports(pod))),
    )


def named_ports(pod: Pod) -> set[tuple[str, str, int]]:
    """Name, protocol and number of the container ports that have a name."""
    ports = [port for container in pod.spec.containers for port in container.ports]
    return {(port.name, port.protocol or "TCP", port.containerPort) for port in ports if port.name}
