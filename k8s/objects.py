"""The objects we read, with only the fields we read; names are those of the wire and therefore frozen.

Lenient on purpose: every field has a default, unknown ones are skipped, and a null is the same as an
absent field (Go writes nil lists and maps as null). Writing goes through plain dicts, not through these.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field


class OwnerReference(Struct, frozen=True):
    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    generation: int = 0
    deletionTimestamp: str = ""
    creationTimestamp: str = ""
    ownerReferences: tuple[OwnerReference, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` alone for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class KubeObject(Struct, frozen=True):
    """What every object has."""

    metadata: ObjectMeta = ObjectMeta()


class Condition(Struct, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    lastTransitionTime: str = ""
    observedGeneration: int = 0


class IPAddress(Struct, frozen=True):
    ip: str = ""


# -- Pod --------------------------------------------------------------------------------------------------


class ContainerPort(Struct, frozen=True):
    name: str = ""
    containerPort: int = 0
    protocol: str = "TCP"
    hostPort: int = 0


class Container(Struct, frozen=True):
    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Struct, frozen=True):
    nodeName: str = ""
    hostNetwork: bool = False
    serviceAccountName: str = ""
    containers: tuple[Container, ...] = ()


class ContainerStatus(Struct, frozen=True):
    name: str = ""
    ready: bool = False
    restartCount: int = 0


class PodStatus(Struct, frozen=True):
    phase: str = ""
    podIP: str = ""
    podIPs: tuple[IPAddress, ...] = ()
    hostIP: str = ""
    conditions: tuple[Condition, ...] = ()
    containerStatuses: tuple[ContainerStatus, ...] = ()


class Pod(KubeObject, frozen=True):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


# -- Node, Namespace --------------------------------------------------------------------------------------


class NodeSpec(Struct, frozen=True):
    podCIDR: str = ""
    podCIDRs: tuple[str, ...] = ()


class NodeAddress(Struct, frozen=True):
    type: str = ""
    address: str = ""


class NodeStatus(Struct, frozen=True):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Node(KubeObject, frozen=True):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(KubeObject, frozen=True):
    pass


# -- Service, EndpointSlice -------------------------------------------------------------------------------


class ServicePort(Struct, frozen=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    targetPort: int | str = 0
    nodePort: int = 0
    appProtocol: str = ""


class ClientIPConfig(Struct, frozen=True):
    timeoutSeconds: int | None = None


class SessionAffinityConfig(Struct, frozen=True):
    clientIP: ClientIPConfig | None = None


class ServiceSpec(Struct, frozen=True):
    type: str = "ClusterIP"
    clusterIP: str = ""
    clusterIPs: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = {}
    externalIPs: tuple[str, ...] = ()
    externalName: str = ""
    loadBalancerIP: str = ""
    ipFamilies: tuple[str, ...] = ()
    internalTrafficPolicy: str = ""
    externalTrafficPolicy: str = ""
    healthCheckNodePort: int = 0
    loadBalancerSourceRanges: tuple[str, ...] = ()
    sessionAffinity: str = ""
    sessionAffinityConfig: SessionAffinityConfig | None = None
    trafficDistribution: str = ""


class LoadBalancerIngress(Struct, frozen=True):
    ip: str = ""
    hostname: str = ""
    ipMode: str = ""


class LoadBalancerStatus(Struct, frozen=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Struct, frozen=True):
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(KubeObject, frozen=True):
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(Struct, frozen=True):
    """None means unknown, which readers treat as true for `ready` and `serving`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(Struct, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class ForZone(Struct, frozen=True):
    name: str = ""


class EndpointHints(Struct, frozen=True):
    forZones: tuple[ForZone, ...] = ()


class Endpoint(Struct, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    nodeName: str = ""
    zone: str = ""
    targetRef: ObjectReference = ObjectReference()
    hints: EndpointHints = EndpointHints()


class EndpointPort(Struct, frozen=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    appProtocol: str = ""


class EndpointSlice(KubeObject, frozen=True):
    addressType: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service_name(self) -> str:
        return self.metadata.labels.get("kubernetes.io/service-name", "")

    @property
    def managed_by(self) -> str:
        return self.metadata.labels.get("endpointslice.kubernetes.io/managed-by", "")


# -- Services of many clusters ---------------------------------------------------------------------------


class ServiceExportSpec(Struct, frozen=True):
    exportedLabels: dict[str, str] = {}
    exportedAnnotations: dict[str, str] = {}


class ServiceExportStatus(Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()


class ServiceExport(KubeObject, frozen=True):
    """The Service of the same name is for all clusters."""

    spec: ServiceExportSpec = ServiceExportSpec()
    status: ServiceExportStatus = ServiceExportStatus()


class ServiceImportSpec(Struct, frozen=True):
    type: str = ""
    ips: tuple[str, ...] = ()


class ExportingCluster(Struct, frozen=True):
    cluster: str = ""


class ServiceImportStatus(Struct, frozen=True):
    clusters: tuple[ExportingCluster, ...] = ()
    endpointSliceObjects: str = ""
    conditions: tuple[Condition, ...] = ()


class ServiceImport(KubeObject, frozen=True):
    """What all clusters export under this name, here."""

    spec: ServiceImportSpec = ServiceImportSpec()
    status: ServiceImportStatus = ServiceImportStatus()


# -- Secret, ConfigMap ------------------------------------------------------------------------------------


class Secret(KubeObject, frozen=True):
    """Values are decoded from base64 already."""

    type: str = ""
    data: dict[str, bytes] = {}

    def __repr__(self) -> str:  # never the values: objects end up in logs
        return f"Secret({self.metadata.key!r}, keys={sorted(self.data)!r})"


class ConfigMap(KubeObject, frozen=True):
    data: dict[str, str] = {}


# -- Cilium's kinds ---------------------------------------------------------------------------------------


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


# -- Decoding ---------------------------------------------------------------------------------------------

T = TypeVar("T", bound=KubeObject)


def decode(raw: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Read one object. Raises msgspec.MsgspecError when it is no such object.

    Nulls are rare and cost a second look; objects without them are read in one pass.
    """
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), type_)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
