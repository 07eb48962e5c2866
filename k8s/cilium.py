"""Kinds of cilium.io/v2: nodes, identities, endpoints. Names are the wire's, as in `k8s.objects`."""

from __future__ import annotations

from msgspec import Struct, field

from k8s.objects import KubeObject


class CiliumNodeAddress(Struct, frozen=True):
    type: str = ""
    ip: str = ""


class AllocatedPool(Struct, frozen=True):
    pool: str = ""
    cidrs: tuple[str, ...] = ()


class IPAMPools(Struct, frozen=True):
    allocated: tuple[AllocatedPool, ...] = ()


class CiliumNodeIPAM(Struct, frozen=True):
    podCIDRs: tuple[str, ...] = ()
    pools: IPAMPools = IPAMPools()

    @property
    def cidrs(self) -> tuple[str, ...]:
        """All that the node's pods get addresses from, in the order in which Cilium publishes them."""
        return (*self.podCIDRs, *(cidr for pool in self.pools.allocated for cidr in pool.cidrs))


class IPPair(Struct, frozen=True):
    ipv4: str = ""
    ipv6: str = ""


class EncryptionSpec(Struct, frozen=True):
    key: int = 0


class CiliumNodeSpec(Struct, frozen=True):
    addresses: tuple[CiliumNodeAddress, ...] = ()
    ipam: CiliumNodeIPAM = CiliumNodeIPAM()
    health: IPPair = IPPair()
    ingress: IPPair = IPPair()
    encryption: EncryptionSpec = EncryptionSpec()
    bootid: str = ""


class CiliumNode(KubeObject, frozen=True):
    spec: CiliumNodeSpec = CiliumNodeSpec()


class CiliumIdentity(KubeObject, frozen=True):
    """The name is the decimal identity; labels are `source:key` -> value."""

    security_labels: dict[str, str] = field(default={}, name="security-labels")


class EndpointIdentity(Struct, frozen=True):
    id: int = 0
    labels: tuple[str, ...] = ()


class EndpointNetworking(Struct, frozen=True):
    addressing: tuple[IPPair, ...] = ()
    node: str = ""


class NamedPort(Struct, frozen=True):
    name: str = ""
    port: int = 0
    protocol: str = ""


class CiliumEndpointStatus(Struct, frozen=True):
    id: int = 0
    identity: EndpointIdentity = EndpointIdentity()
    networking: EndpointNetworking = EndpointNetworking()
    encryption: EncryptionSpec = EncryptionSpec()
    named_ports: tuple[NamedPort, ...] = field(default=(), name="named-ports")
    state: str = ""
    service_account: str = field(default="", name="service-account")


class CiliumEndpoint(KubeObject, frozen=True):
    status: CiliumEndpointStatus = CiliumEndpointStatus()


class CoreEndpoint(Struct, frozen=True):
    """An endpoint as a slice has it: what others need to know of it. `id` is its identity."""

    name: str = ""
    id: int = 0
    networking: EndpointNetworking = EndpointNetworking()
    encryption: EncryptionSpec = EncryptionSpec()
    service_account: str = field(default="", name="service-account")


class CiliumEndpointSlice(KubeObject, frozen=True):
    """Not namespaced itself; all its endpoints are in `namespace`."""

    namespace: str = ""
    endpoints: tuple[CoreEndpoint, ...] = ()
