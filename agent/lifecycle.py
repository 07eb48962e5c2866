"""The endpoints of this node, from a CNI plugin's request to the pod's end.

Promises: an endpoint is answered for only when its identity and its policy are in the kernel and its
programs are attached: there is no moment in which a new pod is open. What was answered for is on disk,
and is taken up again by the next life of the agent without touching what still stands. An endpoint
whose interface has gone is collected. A full disk refuses new endpoints and keeps nothing else from its
work: what could not be written is written later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent import healthaddress
from agent.allocator import Allocator
from agent.datapath import ENDPOINTS, POLICY, Datapath
from agent.endpointrecord import EndpointRecord
from agent.endpointrequest import Request
from agent.endpoints import Endpoint, Stored, next_id
from agent.errors import AgentError, NotFoundError, NotReadyError, RequestError, StorageError
from agent.ipam import Addresses, Pools
from agent.k8s_sync import KubernetesView
from agent.podidentity import PodIdentity
from agent.podlookup import PodLookup
from agent.tables import Tables
from aiokit.backoff import Backoff
from aiokit.keylock import KeyLock
from bpf.errors import BPFError
from k8s.errors import KubernetesError

log = logging.getLogger(__name__)

PROGRAM_SECONDS = 20.0  # shorter than what the plugin waits
COLLECT_SECONDS = 30.0
RETRY_FIRST, RETRY_CAP = 0.5, 30.0


class Interfaces(Protocol):
    """What is done to a pod's interface. Blocking: called in a thread."""

    def links(self) -> dict[str, int]: ...
    def attach(self, ifindex: int) -> None: ...
    def detach(self, ifindex: int) -> None: ...
    def detach_stale(self) -> None: ...
    def add_route(self, address: str, ifindex: int, mac: str) -> None: ...
    def remove_route(self, address: str, ifindex: int) -> None: ...
    def forget_connections(self, address: str) -> None: ...


class Lifecycle:
    def __init__(
        self,
        *,
        tables: Tables,
        datapath: Datapath,
        pools: Pools,
        interfaces: Interfaces,
        allocator: Allocator,
        pods: PodLookup,
        view: KubernetesView,
        path: Path,
        changed: Callable[[], None],
    ) -> None:
        self._tables = tables
        self._datapath = datapath
        self._pools = pools
        self._interfaces = interfaces
        self._identity = PodIdentity(pods, allocator, tables.node.cluster)
        self._view = view
        self._record = EndpointRecord(path, tables, pools)
        self._changed = changed
        self._containers = KeyLock()  # one request at a time for a container

    @property
    def unstored(self) -> str:
        """Why what is on disk is not what is true; empty when it is."""
        return self._record.unstored

    @property
    def pools(self) -> Pools:
        return self._pools

    def find(self, container_id: str) -> Endpoint | None:
        for endpoint in self._tables.endpoints.values():
            if endpoint.container_id == container_id:
                return endpoint
        return None

    def load(self, stored: Stored) -> None:
        """Take over what an earlier life knew. Call before the data path starts."""
        for address, owner in (stored.addresses | stored.addresses6).items():
            if owner != healthaddress.OWNER:  # reserved already, or not wanted any more
                self._take_over(address, owner)
        for endpoint in stored.endpoints:
            for address in endpoint.addresses:
                self._take_over(address, endpoint.pod)
            self._tables.upsert_endpoint(endpoint)

    def _take_over(self, address: str, owner: str) -> None:
        try:
            self._pools.take(address, owner)
        except RequestError as error:  # the node's pod CIDR changed under us
            log.warning("stored address %s of %s is kept outside the pool: %s", address, owner, error)

    async def reattach(self) -> None:
        """Put back what is missing below the endpoints that were taken over; what stands is not touched."""
        await self.collect()
        for endpoint in list(self._tables.endpoints.values()):
            try:
                await self._connect(endpoint)
            except (AgentError, BPFError) as error:
                log.error("endpoint %s of %s cannot be taken up: %s", endpoint.id, endpoint.pod, error)

    async def allocate(self, owner: str, *, ipv4: bool = True, ipv6: bool = True) -> Addresses:
        """An address of each family that is asked for; of IPv6 only where the node has some."""
        found = self._pools.allocate(owner, ipv4=ipv4, ipv6=ipv6)
        try:
            await self._record.store()
        except StorageError:
            for address in (found.ipv4, found.ipv6):
                self._pools.release(address)
            raise
        return found

    async def release(self, address: str) -> None:
        if any(address in endpoint.addresses for endpoint in self._tables.endpoints.values()):
            raise NotFoundError(f"{address} belongs to an endpoint: delete that")
        if not self._pools.release(address):
            raise NotFoundError(f"{address} is not given out")
        await self._record.store_or_owe()

    async def create(self, request: Request) -> Endpoint:
        """Returns once the endpoint is programmed. If it raises, nothing is left."""
        async with self._containers.held(request.container_id):
            old = self.find(request.container_id)
            if old is not None and request.is_for(old):
                await self._program(old)
                return old
            if old is not None:
                await self._delete(old)
            for address in request.addresses:
                self._pools.take(address, request.pod)
            endpoint = await self._identified(request)
            try:
                await self._program(endpoint)
                await self._record.store()
            except BaseException:
                await asyncio.shield(self._delete(endpoint))
                raise
            self._changed()
            return endpoint

    async def delete(self, container_id: str) -> None:
        async with self._containers.held(container_id):
            endpoint = self.find(container_id)
            if endpoint is None:
                raise NotFoundError(f"no endpoint for container {container_id}")
            await self._delete(endpoint)

    async def collect(self) -> None:
        """Delete the endpoints whose interface is gone: their pod ended while nobody told us."""
        links = await asyncio.to_thread(self._interfaces.links)
        for endpoint in list(self._tables.endpoints.values()):
            if (
                links.get(endpoint.interface) != endpoint.ifindex
                and endpoint.container_id not in self._containers
            ):
                log.info("endpoint %s of %s has lost its interface", endpoint.id, endpoint.pod)
                for address in endpoint.addresses:
                    self._pools.release(address)
                await self._delete(endpoint)
        await asyncio.to_thread(self._interfaces.detach_stale)

    async def run_collector(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            try:
                await self.collect()
            except (AgentError, BPFError) as error:
                log.warning("endpoints without interface cannot be collected: %s", error)
            if self._record.unstored:
                await self._record.store_or_owe()

    async def follow_labels(self) -> None:
        """A pod's or namespace's labels changed: another identity. Until it is known the old one stays."""
        backoff = Backoff(RETRY_FIRST, RETRY_CAP)
        while True:
            changed = self._view.changed
            try:
                for endpoint in list(self._tables.endpoints.values()):
                    await self._relabel(endpoint)
            except (KubernetesError, AgentError) as error:
                log.warning("labels cannot be followed: %s", error)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                await changed.wait()

    async def _relabel(self, endpoint: Endpoint) -> None:
        new = await self._identity.relabelled(endpoint)
        if new is None:
            return
        async with self._containers.held(endpoint.container_id):
            if self._tables.endpoints.get(endpoint.id) != endpoint:
                return  # it ended or changed meanwhile
            self._tables.upsert_endpoint(new)
            await self._record.store_or_owe()
            self._changed()

    async def _identified(self, request: Request) -> Endpoint:
        identity, labels, facts = await self._identity.fetch(request.namespace, request.pod_name)
        return Endpoint(
            id=next_id(self._tables.endpoints),
            container_id=request.container_id,
            interface=request.interface,
            ifindex=request.ifindex,
            mac=request.mac,
            host_mac=request.host_mac,
            ipv4=request.ipv4,
            pod_name=request.pod_name,
            namespace=request.namespace,
            identity=identity,
            labels=labels,
            pod_uid=facts.uid,
            service_account=facts.service_account,
            named_ports=facts.named_ports,
            ipv6=request.ipv6,
        )

    async def _program(self, endpoint: Endpoint) -> None:
        if not self._tables.own_is_listed:
            raise NotReadyError("Kubernetes is not listed yet: policies are unknown")
        revision = self._tables.upsert_endpoint(endpoint)
        try:
            async with asyncio.timeout(PROGRAM_SECONDS):
                await self._datapath.wait_applied(revision, POLICY, ENDPOINTS)
        except TimeoutError as error:
            raise NotReadyError(f"the kernel did not take the endpoint: {self._datapath.errors()}") from error
        await self._connect(endpoint)

    async def _connect(self, endpoint: Endpoint) -> None:
        await asyncio.to_thread(self._interfaces.attach, endpoint.ifindex)
        for address in endpoint.addresses:
            await asyncio.to_thread(self._interfaces.add_route, address, endpoint.ifindex, endpoint.mac)

    async def _delete(self, endpoint: Endpoint) -> None:
        self._tables.remove_endpoint(endpoint.id)
        for address in endpoint.addresses:
            await asyncio.to_thread(self._interfaces.remove_route, address, endpoint.ifindex)
        await asyncio.to_thread(self._interfaces.detach, endpoint.ifindex)
        for address in endpoint.addresses:  # what it had opened must not admit packets to the next owner
            await asyncio.to_thread(self._interfaces.forget_connections, address)
        await self._record.store_or_owe()
        self._changed()
