"""`mesh.yaml`: which clusters there are, and who reads whom. Strict: what is not known is an error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated

import msgspec
import yaml

from aiokit import strictyaml
from cli.errors import CommandError
from cli.facts import Address
from cli.target import NAMESPACE
from mesh.addressing import parse_cluster_name
from mesh.errors import MeshError
from mesh.keys import Kind
from peering.rules import EVERYTHING, Claim, Claims, RulesError, See

OTHERS = "*"  # whoever is not named, and clients with the common name that all clusters share
MAX_BYTES = 1024 * 1024  # five hundred clusters with their endpoints

_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class _Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    ip: str
    port: _Port = 2379


class _Peer(msgspec.Struct, forbid_unknown_fields=True):
    see: list[Kind] | None = None
    claim: Claim | None = None


class _Cluster(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    id: Annotated[int, msgspec.Meta(ge=1, le=511)]
    context: str = ""
    bundle: str = ""
    namespace: str = NAMESPACE
    endpoints: list[_Endpoint] = []
    peers: dict[str, _Peer] = {}


class _Mesh(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    kind: str
    version: int
    clusters: Annotated[list[_Cluster], msgspec.Meta(min_length=1)]
    reads: dict[str, list[str]] | None = None
    share_authorities: bool = False


@dataclass(frozen=True, slots=True)
class MeshCluster:
    """A cluster that is asked by its `context`, or only known from a peer bundle (a path, as written).

    `see`: what others may read of it, `claims`: what it takes of them, by their names.
    """

    name: str
    cluster_id: int
    context: str = ""
    bundle: str = ""
    namespace: str = NAMESPACE
    endpoints: tuple[Address, ...] = ()  # empty: where its Service or its bundle says
    see: See = field(default_factory=See)
    claims: Mapping[str, Claims] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeshFile:
    """`reads`: cluster -> whom it follows. `share_authorities`: every cluster accepts those of all."""

    clusters: Mapping[str, MeshCluster]
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    share_authorities: bool = False


def parse(content: bytes, origin: str) -> MeshFile:
    """Raises CommandError, which says where."""
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES // 1024} KiB")
        found = msgspec.convert(strictyaml.load(content), _Mesh)
        if (found.kind, found.version) != ("Mesh", 1):
            raise ValueError(f"kind {found.kind!r} version {found.version}, not Mesh version 1")
        clusters = _clusters(found.clusters)
        return MeshFile(clusters, _reads(found.reads, clusters), found.share_authorities)
    except (msgspec.ValidationError, yaml.YAMLError, RecursionError, ValueError, MeshError) as error:
        raise CommandError(f"{origin}: {error}") from None


def _clusters(given: list[_Cluster]) -> dict[str, MeshCluster]:
    clusters: dict[str, MeshCluster] = {}
    ids: dict[int, str] = {}
    for each in given:
        parse_cluster_name(each.name)
        if each.name in clusters:
            raise ValueError(f"cluster {each.name} is there twice")
        if each.id in ids:
            raise ValueError(f"clusters {ids[each.id]} and {each.name} both have the id {each.id}")
        if bool(each.context) == bool(each.bundle):
            raise ValueError(f"cluster {each.name} needs a context or a bundle, and not both")
        ids[each.id] = each.name
        endpoints = tuple(_endpoint(each.name, endpoint) for endpoint in each.endpoints)
        clusters[each.name] = MeshCluster(
            each.name, each.id, each.context, each.bundle, each.namespace, endpoints, *_rules(each)
        )
    for each in given:
        for peer in each.peers.keys() - {OTHERS}:
            if peer not in clusters or peer == each.name:
                raise ValueError(f"cluster {each.name}: peer {peer!r} is not another one of the clusters")
    return clusters


def _rules(of: _Cluster) -> tuple[See, dict[str, Claims]]:
    """What the cluster's peers may see and claim."""
    if of.peers and not of.context:
        raise ValueError(f"cluster {of.name} has no context, so its peers cannot be restricted from here")
    see = {name: frozenset(peer.see) for name, peer in of.peers.items() if peer.see is not None}
    default = see.pop(OTHERS, EVERYTHING)
    claims = {}
    for name, peer in of.peers.items():
        if peer.claim is None:
            continue
        if name == OTHERS:
            raise ValueError(f"cluster {of.name}: {OTHERS!r} is for what others may see, not for claims")
        try:
            claims[name] = peer.claim.checked()
        except RulesError as error:
            raise ValueError(f"cluster {of.name}: peer {name}: {error}") from None
    return See(see, default), claims


def _endpoint(cluster: str, given: _Endpoint) -> Address:
    try:
        return Address(str(ip_address(given.ip)), given.port)
    except ValueError:
        raise ValueError(f"cluster {cluster}: endpoint {given.ip!r} is not an IP address") from None


def _reads(
    given: Mapping[str, list[str]] | None, clusters: Mapping[str, MeshCluster]
) -> dict[str, tuple[str, ...]]:
    """Of clusters that can be changed from here. Nothing said: all read all."""
    own = [name for name, cluster in clusters.items() if cluster.context]
    if given is None:
        return {name: tuple(other for other in clusters if other != name) for name in own}
    for reader, peers in given.items():
        for name in (reader, *peers):
            if name not in clusters:
                raise ValueError(f"reads: {name} is not among the clusters")
        if reader not in own:
            raise ValueError(f"reads: {reader} has no context, so it cannot be told anything from here")
        if reader in peers:
            raise ValueError(f"reads: {reader} cannot read itself")
    return {name: tuple(dict.fromkeys(given.get(name, ()))) for name in own}
