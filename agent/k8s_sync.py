"""What Kubernetes knows of our own cluster, into the tables. One task a kind; lists, then watches, for
ever.

`own_listed` is said once every kind has been listed: until then the data path keeps what it has. A lost API
server changes nothing: `k8s.watch` lists again and compares.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from agent import convert
from agent.ipcache import IPCacheEntry, Level, Rank, node_entries
from agent.labels import from_security_labels
from agent.tables import Tables
from aiokit.backoff import Backoff
from k8s.cilium import CiliumEndpoint, CiliumIdentity, CiliumNode
from k8s.client import Client
from k8s.core import Namespace, Pod, Service
from k8s.core import Node as KubernetesNode
from k8s.discovery import EndpointSlice
from k8s.objects import KubeObject
from k8s.resource import (
    CILIUMCLUSTERWIDENETWORKPOLICY,
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNETWORKPOLICY,
    CILIUMNODE,
    ENDPOINTSLICE,
    NAMESPACE,
    NETWORKPOLICY,
    NODE,
    POD,
    SERVICE,
    Resource,
)
from k8s.watch import ObjectDelta, follow
from mesh.addressing import Identity
from mesh.errors import MeshError
from mesh.identity import Labels
from mesh.network_policy import parse_network_policy
from mesh.node import Node
from mesh.policy import Policy, parse_policy
from mesh.topology import ZONE_LABEL

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_CAP = 0.2, 30.0
NETWORK_POLICY = "networkpolicy/"  # before the names of Kubernetes' own kind

T = TypeVar("T", bound=KubeObject)
Fold = Callable[[ObjectDelta[T]], None]


class PolicyObject(KubeObject, frozen=True):
    """A policy of any kind; `mesh.policy_parse` or `mesh.network_policy` reads what is inside."""

    spec: dict[str, Any] | None = None
    specs: list[dict[str, Any]] | None = None


@dataclass
class KubernetesView:
    """What other parts look up: pods of this node, namespaces, nodes of our cluster."""

    pods: dict[str, Pod] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    own_endpoints: set[str] = field(default_factory=set)  # CiliumEndpoints of this node
    policies_refused: dict[str, str] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class KubernetesSync:
    """Owns the watches; `run` is its task."""

    def __init__(self, client: Client, tables: Tables) -> None:
        self._client = client
        self._tables = tables
        self.view = KubernetesView()
        self._node_claims: dict[str, tuple[Rank, dict[str, IPCacheEntry]]] = {}
        self._endpoint_claims: dict[str, dict[str, IPCacheEntry]] = {}
        cilium, own = self._cilium_policies, tables.node.name
        self._kinds: list[tuple[Resource, Callable[[], Coroutine[None, None, None]]]] = [
            (SERVICE, lambda: self._follow(SERVICE, Service, self._services)),
            (ENDPOINTSLICE, lambda: self._follow(ENDPOINTSLICE, EndpointSlice, self._slices)),
            (NODE, lambda: self._follow(NODE, KubernetesNode, self._own_node, f"metadata.name={own}")),
            (CILIUMNODE, lambda: self._follow(CILIUMNODE, CiliumNode, self._nodes)),
            (CILIUMENDPOINT, lambda: self._follow(CILIUMENDPOINT, CiliumEndpoint, self._endpoints)),
            (CILIUMIDENTITY, lambda: self._follow(CILIUMIDENTITY, CiliumIdentity, self._identities)),
            (CILIUMNETWORKPOLICY, lambda: self._follow(CILIUMNETWORKPOLICY, PolicyObject, cilium)),
            (
                CILIUMCLUSTERWIDENETWORKPOLICY,
                lambda: self._follow(CILIUMCLUSTERWIDENETWORKPOLICY, PolicyObject, cilium),
            ),
            (NETWORKPOLICY, lambda: self._follow(NETWORKPOLICY, PolicyObject, self._network_policies)),
            (NAMESPACE, lambda: self._follow(NAMESPACE, Namespace, self._namespaces)),
            (POD, lambda: self._follow(POD, Pod, self._pods, f"spec.nodeName={own}")),
        ]

    @property
    def kinds(self) -> list[str]:
        return [resource.plural for resource, _ in self._kinds]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for resource, work in self._kinds:
                group.create_task(work(), name=f"k8s/{resource.plural}")

    async def _follow(
        self, resource: Resource, type_: type[T], fold: Fold[T], field_selector: str = ""
    ) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_CAP)
        stream = follow(self._client, resource, type_, field_selector=field_selector, backoff=backoff)
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                fold(delta)
                if delta.synced:
                    self._listed(resource)
                changed, self.view.changed = self.view.changed, asyncio.Event()
                changed.set()

    def _listed(self, resource: Resource) -> None:
        if resource.plural in self.view.listed:
            return
        self.view.listed.add(resource.plural)
        log.info("%s are listed", resource.plural)
        if self.view.listed.issuperset(self.kinds):
            self._tables.own_listed()

    def _services(self, delta: ObjectDelta[Service]) -> None:
        for key, service in delta.upserts.items():
            self._tables.services.set_local(key, convert.local_service(service))
        for key in delta.removes:
            self._tables.services.set_local(key, None)

    def _slices(self, delta: ObjectDelta[EndpointSlice]) -> None:
        for key, piece in delta.upserts.items():
            self._tables.services.set_slice(key, convert.service_slice(piece))
            self._tables.api_servers.set_slice(key, convert.api_server_addresses(piece))
        for key in delta.removes:
            self._tables.services.set_slice(key, None)
            self._tables.api_servers.set_slice(key, frozenset())

    def _own_node(self, delta: ObjectDelta[KubernetesNode]) -> None:
        """A node that is deleted keeps its labels: its agent is about to go."""
        for node in delta.upserts.values():
            self._tables.services.set_labels(node.metadata.labels)

    def _nodes(self, delta: ObjectDelta[CiliumNode]) -> None:
        for key, raw in delta.upserts.items():
            try:
                node = convert.node_of(raw, self._tables.node.cluster)
            except (ValueError, MeshError) as error:
                log.warning("node %s is ignored: %s", key, error)
                continue
            self.view.nodes[key] = node
            own = key == self._tables.node.name
            if own:
                self._tables.services.set_zone(node.labels.get(ZONE_LABEL, ""))
            rank = Rank(Level.OWN_NODE if own else Level.LOCAL_NODE, owner=f"node/{key}")
            self._claim_node(key, rank, node_entries(node, own=own))
            self._tables.claim_node(rank, node)
        for key in delta.removes:
            self.view.nodes.pop(key, None)
            self._claim_node(key, None, {})
            self._tables.claim_node(Rank(Level.LOCAL_NODE, owner=f"node/{key}"), None)

    def _claim_node(self, key: str, rank: Rank | None, new: Mapping[str, IPCacheEntry]) -> None:
        old_rank, old = self._node_claims.pop(key, (rank, {}))
        final = rank or old_rank
        if final is None:
            return
        self._tables.ipcache.replace(final, old, new)
        if new:
            self._node_claims[key] = (final, dict(new))

    def _endpoints(self, delta: ObjectDelta[CiliumEndpoint]) -> None:
        for key, endpoint in delta.upserts.items():
            self._claim_endpoint(key, convert.endpoint_entries(endpoint, self._tables.node.ip))
            self._tables.peer_ports.claim(key, endpoint.status.identity.id, convert.named_ports(endpoint))
            self.view.own_endpoints.discard(key)
            if endpoint.status.networking.node == self._tables.node.ip:
                self.view.own_endpoints.add(key)
        for key in delta.removes:
            self._claim_endpoint(key, {})
            self._tables.peer_ports.claim(key, 0, {})
            self.view.own_endpoints.discard(key)

    def pod_addresses(self, key: str) -> list[str]:
        """Of "namespace/pod" of our cluster; empty for one that nobody knows."""
        return [prefix.partition("/")[0] for prefix in self._endpoint_claims.get(key, {})]

    def _claim_endpoint(self, key: str, new: dict[str, IPCacheEntry]) -> None:
        old = self._endpoint_claims.pop(key, {})
        self._tables.ipcache.replace(Rank(Level.LOCAL_ENDPOINT, owner=key), old, new)
        if new:
            self._endpoint_claims[key] = new

    def _identities(self, delta: ObjectDelta[CiliumIdentity]) -> None:
        upserts: dict[Identity, Labels] = {}
        for key, value in delta.upserts.items():
            if key.isascii() and key.isdecimal():
                upserts[Identity(int(key))] = from_security_labels(value.security_labels)
            else:
                log.warning("identity %s is ignored: its name is no number", key)
        removes = [Identity(int(key)) for key in delta.removes if key.isascii() and key.isdecimal()]
        if upserts or removes:
            self._tables.identities.commit(upserts, removes, own=True)

    def _cilium_policies(self, delta: ObjectDelta[PolicyObject]) -> None:
        self._policies(delta, parse_policy, "")

    def _network_policies(self, delta: ObjectDelta[PolicyObject]) -> None:
        self._policies(delta, parse_network_policy, NETWORK_POLICY)

    def _policies(
        self, delta: ObjectDelta[PolicyObject], parse: Callable[[Mapping[str, Any]], Policy], kind: str
    ) -> None:
        """`kind` goes before the name: two kinds may have objects of one name."""
        upserts: dict[str, Policy] = {}
        for name, value in delta.upserts.items():
            key = kind + name
            try:
                upserts[key] = parse(msgspec.to_builtins(value))
            except MeshError as error:
                # the previous version stays: half a policy could open what it should close
                if self.view.policies_refused.get(key) != str(error):
                    log.error("policy %s is refused: %s", key, error)
                self.view.policies_refused[key] = str(error)
            else:
                self.view.policies_refused.pop(key, None)
                if upserts[key].unsupported:
                    parts = ", ".join(upserts[key].unsupported)
                    log.warning("policy %s is in part not enforced: %s", key, parts)
        removes = [kind + name for name in delta.removes]
        for key in removes:
            self.view.policies_refused.pop(key, None)
        if upserts or removes:
            self._tables.policies.commit(upserts, removes)

    def _namespaces(self, delta: ObjectDelta[Namespace]) -> None:
        self.view.namespaces.update(delta.upserts)
        for key in delta.removes:
            self.view.namespaces.pop(key, None)

    def _pods(self, delta: ObjectDelta[Pod]) -> None:
        self.view.pods.update(delta.upserts)
        for key in delta.removes:
            self.view.pods.pop(key, None)
