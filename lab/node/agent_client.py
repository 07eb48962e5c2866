"""The node agent's API as a CNI plugin uses it: addresses and endpoints, over its unix socket.

Every failure is NetworkNotReadyError, to be tried again: an agent that is absent, starting or refusing
looks the same to a pod that waits for its network. Releasing what the agent does not know is no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct, field

from lab.errors import NetworkNotReadyError
from lab.plan import POD_MTU

PROGRAM_SECONDS = 30.0  # an endpoint is answered for when its policy is in the kernel
CONNECT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Allocation:
    """Of IPv4 and, where the node has any, of IPv6; "" without."""

    ip: str
    gateway: str
    mtu: int = POD_MTU
    ip6: str = ""
    gateway6: str = ""

    @property
    def ips(self) -> tuple[str, ...]:
        return (self.ip, self.ip6) if self.ip6 else (self.ip,)


class _Family(Struct, frozen=True):
    ip: str = ""
    gateway: str = ""
    mtu: int = 0


class _Pair(Struct, frozen=True):
    ipv4: str = ""
    ipv6: str = ""


class _Allocated(Struct, frozen=True):
    address: _Pair = _Pair()
    ipv4: _Family = _Family()
    ipv6: _Family = _Family()


class Addressing(Struct, frozen=True, omit_defaults=True):
    ipv4: str
    ipv6: str = ""


class Endpoint(Struct, frozen=True, rename="kebab"):
    """EndpointChangeRequest: what the agent must know of a pod's interface."""

    container_id: str
    interface_name: str
    interface_index: int
    mac: str
    host_mac: str
    addressing: Addressing
    k8s_pod_name: str = field(name="k8s-pod-name")
    k8s_namespace: str = field(name="k8s-namespace")
    netns_cookie: str
    sync_build_endpoint: bool = True


@dataclass(frozen=True, slots=True)
class AgentClient:
    """Cheap: a connection per call, so that an agent's restart needs no care."""

    node: str
    socket: Path

    async def allocate(self, owner: str) -> Allocation:
        """An address of each family for `owner` ("namespace/pod")."""
        body = await self._call("POST", "/v1/ipam", {"owner": owner}, expect=(200, 201))
        try:
            answer = msgspec.json.decode(body, type=_Allocated)
        except msgspec.MsgspecError as error:
            raise NetworkNotReadyError(f"the agent on node {self.node} answers oddly: {error}") from error
        four, six = answer.ipv4, answer.ipv6
        return Allocation(
            answer.address.ipv4 or four.ip,
            four.gateway,
            four.mtu or POD_MTU,
            answer.address.ipv6 or six.ip,
            six.gateway,
        )

    async def release(self, ip: str) -> None:
        await self._call("DELETE", f"/v1/ipam/{ip}", expect=(200, 204, 404))

    async def add_endpoint(self, endpoint: Endpoint) -> None:
        """Returns once the endpoint is programmed."""
        path = f"/v1/endpoint/{endpoint.container_id}"
        await self._call("PUT", path, body=endpoint, expect=(200, 201))

    async def remove_endpoint(self, container_id: str) -> None:
        await self._call("DELETE", f"/v1/endpoint/{container_id}", expect=(200, 204, 206, 404))

    async def _call(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: Any = None,
        *,
        expect: tuple[int, ...],
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=PROGRAM_SECONDS, connect=CONNECT_SECONDS)
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
                session.request(
                    method, f"http://agent{path}", params=params, data=data, headers=headers, timeout=timeout
                ) as answer,
            ):
                said = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NetworkNotReadyError(
                f"network not ready: the agent on node {self.node} does not answer"
            ) from error
        if answer.status not in expect:
            text = said[:300].decode(errors="replace").strip()
            raise NetworkNotReadyError(
                f"network not ready: the agent on node {self.node} refuses {method} {path}: "
                f"{answer.status} {text}"
            )
        return said
