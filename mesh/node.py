"""Nodes and their addresses (spec 2.5).

Wire form: JSON with Go's field names under `cilium/state/nodes/v1/<cluster>/<node>`; nothing is left out.
Wire freeze. CIDRs are texts here and objects with a base64 mask on the wire. Later Cilium versions read texts
there too: so do we, and write them where they were read.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import msgspec

from mesh import gojson
from mesh.addressing import ClusterID, PeerScope
from mesh.errors import DecodeError
from mesh.ip import cidr_text, family, is_proper_cidr, read_base64, read_cidr, read_ip, split_cidr

INTERNAL_IP = "InternalIP"

_LISTS = frozenset({"IPAddresses", "IPv4SecondaryAllocCIDRs", "IPv6SecondaryAllocCIDRs"})
_CIDRS = ("IPv4AllocCIDR", "IPv4SecondaryAllocCIDRs", "IPv6AllocCIDR", "IPv6SecondaryAllocCIDRs")
_NO_FIELDS = "{}"  # a CIDR object without fields; no text of `cidr_text` looks like it
_NULL = ""  # a null among secondary CIDRs

C = TypeVar("C", bound=Sized)
_UInt8 = Annotated[int, msgspec.Meta(ge=0, le=2**8 - 1)]
_UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """`ip` is empty for types that are names."""

    type: str
    ip: str


@dataclass(frozen=True, slots=True)
class Node:
    """One node. Addresses are canonical texts, "" for none; CIDRs as `10.1.0.0/24`.

    `nulls` names the wire fields that are null rather than empty when they are empty, `texts` those whose
    CIDRs are texts rather than objects: only bytes that must come out as they came in care. Without a word,
    Cilium 1.20's own way.
    """

    name: str
    cluster: str
    cluster_id: ClusterID
    addresses: tuple[NodeAddress, ...] = ()
    ipv4_pod_cidr: str | None = None
    ipv4_secondary_pod_cidrs: tuple[str, ...] = ()
    ipv6_pod_cidr: str | None = None
    ipv6_secondary_pod_cidrs: tuple[str, ...] = ()
    ipv4_health_ip: str = ""
    ipv6_health_ip: str = ""
    ipv4_ingress_ip: str = ""
    ipv6_ingress_ip: str = ""
    source: str = ""
    encryption_key: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    wireguard_pub_key: str = ""
    boot_id: str = ""
    nulls: frozenset[str] = _LISTS
    texts: frozenset[str] = frozenset()

    def internal_ip(self, version: int = 4) -> str | None:
        """The address that other nodes reach this one by."""
        for address in self.addresses:
            if address.type == INTERNAL_IP and address.ip and family(address.ip) == version:
                return address.ip
        return None

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """All of them, both families."""
        first = (cidr for cidr in (self.ipv4_pod_cidr, self.ipv6_pod_cidr) if cidr is not None)
        return (*first, *self.ipv4_secondary_pod_cidrs, *self.ipv6_secondary_pod_cidrs)


class _Address(msgspec.Struct, forbid_unknown_fields=True):
    Type: str = ""
    IP: str | None = ""


class _CIDR(msgspec.Struct, forbid_unknown_fields=True):
    IP: str | msgspec.UnsetType | None = msgspec.UNSET
    Mask: str | msgspec.UnsetType | None = msgspec.UNSET


_CIDRWire = _CIDR | str | None


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """In the order in which Cilium writes, with Go's zero values."""

    Name: str = ""
    Cluster: str = ""
    IPAddresses: list[_Address] | None = None
    IPv4AllocCIDR: _CIDRWire = None
    IPv4SecondaryAllocCIDRs: list[_CIDRWire] | None = None
    IPv6AllocCIDR: _CIDRWire = None
    IPv6SecondaryAllocCIDRs: list[_CIDRWire] | None = None
    IPv4HealthIP: str | None = ""
    IPv6HealthIP: str | None = ""
    IPv4IngressIP: str | None = ""
    IPv6IngressIP: str | None = ""
    ClusterID: _UInt32 = 0
    Source: str = ""
    EncryptionKey: _UInt8 = 0
    Labels: dict[str, str] | None = None
    Annotations: dict[str, str] | None = None
    WireguardPubKey: str = ""
    BootID: str = ""


WIRE = gojson.Reader(_Wire)


def decode(suffix: str, value: bytes) -> Node:
    """Read one pair; `suffix` must be the node's name."""
    wire = WIRE.read(suffix, value)
    for name, text in (("cluster", wire.Cluster), ("name", wire.Name)):
        if not text:
            raise DecodeError(suffix, f"{name} is unset")
    if wire.Name != suffix:
        raise DecodeError(suffix, f"name does not match key: got {wire.Name[:128]!r}")
    try:
        return _from_wire(wire)
    except ValueError as error:
        raise DecodeError(suffix, str(error)) from error


def _from_wire(wire: _Wire) -> Node:
    return Node(
        name=wire.Name,
        cluster=wire.Cluster,
        cluster_id=ClusterID(wire.ClusterID),
        addresses=tuple(NodeAddress(item.Type, read_ip(item.IP or "")) for item in wire.IPAddresses or ()),
        ipv4_pod_cidr=_read_cidr(wire.IPv4AllocCIDR) or None,
        ipv4_secondary_pod_cidrs=tuple(map(_read_cidr, wire.IPv4SecondaryAllocCIDRs or ())),
        ipv6_pod_cidr=_read_cidr(wire.IPv6AllocCIDR) or None,
        ipv6_secondary_pod_cidrs=tuple(map(_read_cidr, wire.IPv6SecondaryAllocCIDRs or ())),
        ipv4_health_ip=read_ip(wire.IPv4HealthIP or ""),
        ipv6_health_ip=read_ip(wire.IPv6HealthIP or ""),
        ipv4_ingress_ip=read_ip(wire.IPv4IngressIP or ""),
        ipv6_ingress_ip=read_ip(wire.IPv6IngressIP or ""),
        source=wire.Source,
        encryption_key=wire.EncryptionKey,
        labels=wire.Labels or {},
        annotations=wire.Annotations or {},
        wireguard_pub_key=wire.WireguardPubKey,
        boot_id=wire.BootID,
        nulls=frozenset(name for name in (*_LISTS, "Labels", "Annotations") if getattr(wire, name) is None),
        texts=frozenset(name for name in _CIDRS if _has_text(getattr(wire, name))),
    )


def _has_text(wire: _CIDRWire | list[_CIDRWire]) -> bool:
    return any(isinstance(item, str) for item in (wire if isinstance(wire, list) else [wire]))


def _read_cidr(wire: _CIDRWire) -> str:
    match wire:
        case None:
            return _NULL
        case str():
            return cidr_text(*read_cidr(wire))
        case _CIDR(IP=msgspec.UNSET, Mask=msgspec.UNSET):
            return _NO_FIELDS
        case _CIDR(IP=ip, Mask=mask):
            return cidr_text(
                read_ip(ip if isinstance(ip, str) else ""),
                read_base64(mask) if isinstance(mask, str) else None,
            )


def encode(node: Node) -> tuple[str, bytes]:
    """ValueError when an address or CIDR is no such thing."""
    wire = _Wire(
        Name=node.name,
        Cluster=node.cluster,
        IPAddresses=_or_null(node, "IPAddresses", [_Address(item.type, item.ip) for item in node.addresses]),
        IPv4AllocCIDR=_write_cidr(node, "IPv4AllocCIDR", node.ipv4_pod_cidr or _NULL),
        IPv4SecondaryAllocCIDRs=_write_cidrs(node, "IPv4SecondaryAllocCIDRs", node.ipv4_secondary_pod_cidrs),
        IPv6AllocCIDR=_write_cidr(node, "IPv6AllocCIDR", node.ipv6_pod_cidr or _NULL),
        IPv6SecondaryAllocCIDRs=_write_cidrs(node, "IPv6SecondaryAllocCIDRs", node.ipv6_secondary_pod_cidrs),
        IPv4HealthIP=read_ip(node.ipv4_health_ip),
        IPv6HealthIP=read_ip(node.ipv6_health_ip),
        IPv4IngressIP=read_ip(node.ipv4_ingress_ip),
        IPv6IngressIP=read_ip(node.ipv6_ingress_ip),
        ClusterID=node.cluster_id,
        Source=node.source,
        EncryptionKey=node.encryption_key,
        Labels=_or_null(node, "Labels", dict(node.labels)),
        Annotations=_or_null(node, "Annotations", dict(node.annotations)),
        WireguardPubKey=node.wireguard_pub_key,
        BootID=node.boot_id,
    )
    return node.name, gojson.write(wire)


def _or_null(node: Node, field_name: str, items: C) -> C | None:
    return items if items or field_name not in node.nulls else None


def _write_cidrs(node: Node, field_name: str, cidrs: tuple[str, ...]) -> list[_CIDRWire] | None:
    written: list[_CIDRWire] = [_write_cidr(node, field_name, cidr) for cidr in cidrs]
    return _or_null(node, field_name, written)


def _write_cidr(node: Node, field_name: str, text: str) -> _CIDRWire:
    match text:
        case "":  # _NULL
            return None
        case "{}":  # _NO_FIELDS
            return _CIDR()
        case _:
            ip, mask = split_cidr(text)
            if field_name in node.texts and is_proper_cidr(text):
                return text
            return _CIDR(ip, None if mask is None else b64encode(mask).decode())


def admit(node: Node, scope: PeerScope) -> Node:
    """The node, or DecodeError unless it is `scope`'s own and its CIDRs are CIDRs."""
    if node.cluster != scope.name:
        raise DecodeError(node.name, f"unexpected cluster name: got {node.cluster[:64]!r}")
    if node.cluster_id != scope.cluster_id:
        raise DecodeError(
            node.name, f"unexpected cluster ID: got {node.cluster_id}, expected {scope.cluster_id}"
        )
    for cidr in node.pod_cidrs:
        if not is_proper_cidr(cidr):
            raise DecodeError(node.name, f"pod CIDR {cidr!r} is not a network and a prefix length")
    return node
