"""What a CNI plugin asks an endpoint for. Pure."""

from __future__ import annotations

import msgspec

from agent.endpoints import Endpoint


class Request(msgspec.Struct, frozen=True):
    """What a plugin tells of a pod's interface (its EndpointChangeRequest)."""

    container_id: str
    interface: str
    ifindex: int
    mac: str
    host_mac: str
    ipv4: str
    pod_name: str
    namespace: str
    ipv6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.ipv4, self.ipv6) if self.ipv6 else (self.ipv4,)

    @property
    def pod(self) -> str:
        return f"{self.namespace}/{self.pod_name}"

    def is_for(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint is what is asked for: another interface is another endpoint."""
        wanted = (self.interface, self.ifindex, self.mac, self.host_mac, self.addresses, self.pod)
        return wanted == (
            endpoint.interface,
            endpoint.ifindex,
            endpoint.mac,
            endpoint.host_mac,
            endpoint.addresses,
            endpoint.pod,
        )
