"""CiliumEndpoints: what the cluster, and through it the mesh, knows of this node's pods.

Level-triggered: each pass compares the endpoints we have with what was published and with what
Kubernetes shows of this node, so that a write lost in a crash or to an absent API server is made later.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from agent.endpoints import Endpoint
from agent.k8s_sync import KubernetesView
from agent.labels import from_texts
from agent.tables import Tables
from aiokit.backoff import Backoff
from k8s.cilium import CiliumEndpoint
from k8s.client import Client
from k8s.errors import KubernetesError
from k8s.objects import decode
from k8s.resource import CILIUMENDPOINT
from mesh.identity import K8S

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_CAP = 0.2, 30.0
PASS_SECONDS = 60.0  # somebody may have changed or deleted our records


class Publisher:
    """`run` is its task; `wake` after every change of an endpoint."""

    def __init__(self, client: Client, tables: Tables, view: KubernetesView) -> None:
        self._client = client
        self._tables = tables
        self._view = view
        self._published: dict[str, Endpoint] = {}
        self._wake = asyncio.Event()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_CAP)
        while True:
            delay = PASS_SECONDS
            try:
                await self._pass()
                backoff.reset()
            except KubernetesError as error:
                log.warning("endpoints cannot be published: %s", error)
                delay = backoff.next()
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                self._published.clear()  # look at every record again

    async def _pass(self) -> None:
        self._wake.clear()
        wanted = {endpoint.pod: endpoint for endpoint in self._tables.endpoints.values()}
        for key, endpoint in wanted.items():
            if self._published.get(key) != endpoint:
                await self._client.apply(CILIUMENDPOINT, endpoint_object(endpoint, self._tables.node.ip))
                self._published[key] = endpoint
        if "ciliumendpoints" not in self._view.listed:
            return
        for key in (self._published.keys() | self._view.own_endpoints) - wanted.keys():
            await self._withdraw(key)
            self._published.pop(key, None)

    async def _withdraw(self, key: str) -> None:
        """Delete a record, unless a pod of the same name lives elsewhere by now."""
        namespace, _, name = key.partition("/")
        raw = await self._client.get(CILIUMENDPOINT, name, namespace)
        if raw is not None and _node_of(raw) == self._tables.node.ip:
            await self._client.delete(CILIUMENDPOINT, name, namespace)


def endpoint_object(endpoint: Endpoint, node_ip: str) -> dict[str, Any]:
    labels = from_texts(list(endpoint.labels))
    metadata: dict[str, Any] = {
        "name": endpoint.pod_name,
        "namespace": endpoint.namespace,
        "labels": {
            label.key: label.value
            for label in labels
            if label.source == K8S and not label.key.startswith("io.cilium.k8s.")
        },
    }
    if endpoint.pod_uid:
        owner = {"apiVersion": "v1", "kind": "Pod", "name": endpoint.pod_name, "uid": endpoint.pod_uid}
        metadata["ownerReferences"] = [owner]
    return {
        "metadata": metadata,
        "status": {
            "id": endpoint.id,
            "identity": {"id": endpoint.identity, "labels": list(endpoint.labels)},
            "networking": {"addressing": [endpoint.addressing], "node": node_ip},
            "encryption": {"key": 0},
            "named-ports": [
                {"name": name, "protocol": protocol, "port": port}
                for name, protocol, port in endpoint.named_ports
            ],
            "external-identifiers": {
                "container-id": endpoint.container_id,
                "k8s-namespace": endpoint.namespace,
                "k8s-pod-name": endpoint.pod_name,
                "pod-name": endpoint.pod,
            },
            "service-account": endpoint.service_account,
            "state": "ready",
        },
    }


def _node_of(raw: bytes) -> str:
    try:
        return decode(raw, CiliumEndpoint).status.networking.node
    except msgspec.MsgspecError:
        return ""
