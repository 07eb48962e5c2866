"""One Kubernetes object as key-value pairs of this cluster's state (spec 2.5 to 2.8, 4.3). Pure.

Promises: what a peer would refuse is refused here, with the same words, so that nobody learns of it
from a peer's log. Keys are relative to the kind's prefix. Does not remember anything: who owns a
shared key, and which namespaces take part, is decided in `object_export` and `service_export`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from clustermesh_apiserver import slice as slices
from k8s.cilium import (
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    CiliumNodeAddress,
    CiliumNodeIPAM,
    CiliumNodeSpec,
    CoreEndpoint,
)
from k8s.core import Node, Service
from k8s.discovery import EndpointSlice
from mesh import endpointslice, identity, ipcache, node, service
from mesh.addressing import FIRST_ALLOCATED, Identity, PeerScope
from mesh.errors import MeshError
from mesh.ip import canonical_ip, cidr_text, family, read_cidr, read_ip
from mesh.preference import is_global, is_shared

T = TypeVar("T")

SOURCE = "custom-resource"  # where our node records come from, in Cilium's words
WIREGUARD_KEY = "network.cilium.io/wg-pub-key"
# an endpoint may show any of these while its identity is being found; which to believe is the reader's choice
RESERVED = frozenset(range(FIRST_ALLOCATED))
HEADLESS = "None"
NODE_ADDRESSES = frozenset({"InternalIP", "ExternalIP"})  # what peers can dial


class ConvertError(Exception):
    """The object cannot be exported; the text says why."""


@dataclass(frozen=True, slots=True)
class Converted:
    """`namespace` is None for what is exported whatever namespaces take part; `left_out` says which parts
    of the object cannot be exported, and why."""

    namespace: str | None
    pairs: dict[bytes, bytes]
    left_out: str = ""


class Codec(Protocol[T]):
    """What each kind's file in `mesh` offers."""

    def admit(self, value: T, scope: PeerScope, /) -> T: ...
    def encode(self, value: T, /) -> tuple[str, bytes]: ...


class Converter:
    """Turns objects of the cluster `scope` into pairs."""

    def __init__(self, scope: PeerScope) -> None:
        self._scope = replace(scope, reserved=RESERVED)

    def node(self, item: CiliumNode) -> Converted:
        spec = item.spec
        v4, v6 = _by_family(spec.ipam.cidrs)
        value = node.Node(
            name=item.metadata.name,
            cluster=self._scope.name,
            cluster_id=self._scope.cluster_id,
            addresses=tuple(node.NodeAddress(address.type, address.ip) for address in spec.addresses),
            ipv4_pod_cidr=v4[0] if v4 else None,
            ipv4_secondary_pod_cidrs=tuple(v4[1:]),
            ipv6_pod_cidr=v6[0] if v6 else None,
            ipv6_secondary_pod_cidrs=tuple(v6[1:]),
            ipv4_health_ip=spec.health.ipv4,
            ipv6_health_ip=spec.health.ipv6,
            ipv4_ingress_ip=spec.ingress.ipv4,
            ipv6_ingress_ip=spec.ingress.ipv6,
            source=SOURCE,
            encryption_key=spec.encryption.key,
            labels=item.metadata.labels,
            annotations=item.metadata.annotations,
            wireguard_pub_key=item.metadata.annotations.get(WIREGUARD_KEY, ""),
            boot_id=spec.bootid,
        )
        return Converted(None, self._pair(node, value))

    def core_node(self, item: Node) -> Converted:
        """A node of a cluster that does not run Cilium: what Kubernetes knows of it."""
        addresses = tuple(
            CiliumNodeAddress(address.type, address.address)
            for address in item.status.addresses
            if address.type in NODE_ADDRESSES
        )
        cidrs = item.spec.podCIDRs or tuple(filter(None, (item.spec.podCIDR,)))
        spec = CiliumNodeSpec(addresses=addresses, ipam=CiliumNodeIPAM(podCIDRs=cidrs))
        return self.node(CiliumNode(metadata=item.metadata, spec=spec))

    def identity(self, item: CiliumIdentity) -> Converted:
        if not item.security_labels:
            raise ConvertError("the identity has no security labels")
        labels = _labels(item.security_labels)
        value = identity.SecurityIdentity(_number(item.metadata.name), labels)
        namespace = next((label.value for label in labels if label.key == identity.NAMESPACE_LABEL), None)
        return Converted(namespace, self._pair(identity, value))

    def endpoint(self, item: CiliumEndpoint) -> Converted:
        status = item.status
        core = CoreEndpoint(
            item.metadata.name,
            status.identity.id,
            status.networking,
            status.encryption,
            status.service_account,
        )
        return Converted(item.metadata.namespace, self.addresses(item.metadata.namespace, core))

    def endpoint_slice(self, item: CiliumEndpointSlice) -> Converted:
        """A bad endpoint does not keep out its neighbours."""
        pairs: dict[bytes, bytes] = {}
        left_out: list[str] = []
        for endpoint in item.endpoints:
            try:
                pairs.update(self.addresses(item.namespace, endpoint))
            except ConvertError as error:
                left_out.append(f"{endpoint.name}: {error}")
        return Converted(item.namespace, pairs, "; ".join(left_out))

    def is_exported(self, item: Service) -> bool:
        return is_global(item.metadata.annotations) and is_shared(item.metadata.annotations)

    def service(self, item: Service, backends: Iterable[slices.SliceBackends]) -> tuple[bytes, bytes]:
        merged = slices.merge(backends)
        value = service.GlobalService(
            cluster=self._scope.name,
            namespace=item.metadata.namespace,
            name=item.metadata.name,
            frontends=_frontends(item),
            backends=merged.backends,
            hostnames=merged.hostnames,
            zones=merged.zones,
            labels=item.metadata.labels,
            selector=item.spec.selector,
            include_external=True,
            shared=True,
            cluster_id=self._scope.cluster_id,
            nulls=frozenset(f"zones/{ip}" for ip, zone in merged.zones.items() if not zone.for_zones),
        )
        (pair,) = self._pair(service, value).items()
        return pair

    def slice(self, item: EndpointSlice) -> bytes | None:
        """The slice as peers read it; None when it holds host names: those are nobody's backends."""
        try:
            value = slices.of_mesh(item, self._scope)
        except ValueError as error:
            raise ConvertError(str(error)) from error
        if value is None:
            return None
        (encoded,) = self._pair(endpointslice, value).values()
        return encoded

    def addresses(self, namespace: str, endpoint: CoreEndpoint) -> dict[bytes, bytes]:
        """One pair for each of an endpoint's addresses."""
        pairs: dict[bytes, bytes] = {}
        for pair in endpoint.networking.addressing:
            for address in filter(None, (pair.ipv4, pair.ipv6)):
                pairs.update(self._address(namespace, endpoint, address))
        return pairs

    def _address(self, namespace: str, endpoint: CoreEndpoint, address: str) -> dict[bytes, bytes]:
        ip = canonical_ip(address)
        if ip is None:
            raise ConvertError(f"{address!r} is not an IP address")
        try:
            host_ip = read_ip(endpoint.networking.node)
        except ValueError as error:
            raise ConvertError(f"the endpoint's node: {error}") from error
        if not endpoint.id:
            raise ConvertError("the endpoint has no identity yet")
        value = ipcache.IPEntry(
            ip=ip,
            mask=None,
            identity=Identity(endpoint.id),
            host_ip=host_ip,
            encrypt_key=endpoint.encryption.key,
            namespace=namespace,
            pod_name=endpoint.name,
            service_account=endpoint.service_account,
        )
        return self._pair(ipcache, value)

    def _pair(self, codec: Codec[T], value: T) -> dict[bytes, bytes]:
        """Encoded as it is: `admit` only tells whether a peer would take it (it may return another value)."""
        try:
            codec.admit(value, self._scope)
            key, encoded = codec.encode(value)
        except (MeshError, ValueError) as error:
            raise ConvertError(str(error)) from error
        return {key.encode(): encoded}


def _by_family(cidrs: Iterable[str]) -> tuple[list[str], list[str]]:
    """IPv4 and IPv6 pod CIDRs with host bits cleared; the first of a family is the primary one."""
    families: tuple[list[str], list[str]] = ([], [])
    for cidr in cidrs:
        try:
            ip, mask = read_cidr(cidr)
        except ValueError as error:
            raise ConvertError(f"pod CIDR: {error}") from error
        families[0 if family(ip) == 4 else 1].append(cidr_text(ip, mask))
    return families


def _labels(security_labels: Mapping[str, str]) -> identity.Labels:
    """One label a key, whatever its source, as in Cilium's own map of labels."""
    parsed = (identity.parse_label(f"{name}={value}") for name, value in sorted(security_labels.items()))
    return tuple({label.key: label for label in parsed}.values())


def _number(name: str) -> Identity:
    if not (name.isascii() and name.isdecimal()) or str(int(name)) != name:
        raise ConvertError(f"the identity's name {name!r} is not a decimal number")
    return Identity(int(name))


def _frontends(item: Service) -> dict[str, dict[str, service.Port]]:
    """Every ClusterIP with the service's ports by name; none for a headless service."""
    texts = item.spec.clusterIPs or (item.spec.clusterIP,)
    addresses = [ip for text in texts if text not in ("", HEADLESS) and (ip := canonical_ip(text))]
    ports = {port.name: service.Port(port.protocol, port.port) for port in item.spec.ports}
    return dict.fromkeys(addresses, ports)
