"""Kinds of core/v1: pods, nodes, namespaces, services, secrets. Names are the wire's, as in `k8s.objects`."""

from __future__ import annotations

from msgspec import Struct, field

from k8s.objects import Condition, KubeObject


class IPAddress(Struct, frozen=True):
    ip: str = ""


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


class PodStatus(Struct, frozen=True):
    phase: str = ""
    podIP: str = ""
    podIPs: tuple[IPAddress, ...] = ()
    hostIP: str = ""
    conditions: tuple[Condition, ...] = ()


class Pod(KubeObject, frozen=True):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


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


class Secret(KubeObject, frozen=True):
    """Values are decoded from base64 already."""

    type: str = ""
    data: dict[str, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:  # never the values: objects end up in logs
        return f"Secret({self.metadata.key!r}, keys={sorted(self.data)!r})"


class ConfigMap(KubeObject, frozen=True):
    data: dict[str, str] = field(default_factory=dict)
