"""What each peer may see and claim: the files of ConfigMap `clustermesh-peers`. Strict. Pure.

`see.yaml` is the proxy's: which kinds of our entries a peer may read. `claims.yaml` is the agents': what they
take of what a peer tells. Neither says `endpoints:`, so both may stand among the peers' configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from aiokit import strictyaml
from mesh.addressing import parse_cluster_name
from mesh.errors import MeshError
from mesh.keys import Kind

CONFIG_MAP = "clustermesh-peers"
SEE_FILE, CLAIMS_FILE = "see.yaml", "claims.yaml"
EVERYTHING = frozenset(Kind)
T = TypeVar("T")


class RulesError(Exception):
    """A file that cannot be used."""


@dataclass(frozen=True, slots=True)
class See:
    """`peers`: cluster -> kinds. Everybody else sees `default`."""

    peers: Mapping[str, frozenset[Kind]] = field(default_factory=dict)
    default: frozenset[Kind] = EVERYTHING


@dataclass(frozen=True, slots=True)
class Claims:
    """What is taken of one peer. None: any; for the check: as the agent is told for all.

    `addresses`: networks for its pods, nodes and backends. `namespaces`: of services that it may back.
    """

    addresses: tuple[str, ...] | None = None
    namespaces: frozenset[str] | None = None
    address_check: str | None = None  # "warn" or "enforce"


class SeePeer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    see: list[Kind]


class _SeeFile(msgspec.Struct, forbid_unknown_fields=True):
    default: list[Kind] | None = None
    peers: list[SeePeer] = []


class Claim(msgspec.Struct, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """As it is written, in `mesh.yaml` too."""

    addresses: list[str] | None = None
    namespaces: list[str] | None = None
    address_check: Literal["warn", "enforce"] | None = None

    def checked(self) -> Claims:
        """Raises RulesError."""
        try:
            addresses = None if self.addresses is None else tuple(str(ip_network(a)) for a in self.addresses)
        except ValueError as error:
            raise RulesError(f"addresses: {error}") from None
        namespaces = None if self.namespaces is None else frozenset(self.namespaces)
        return Claims(addresses, namespaces, self.address_check)


class _ClaimPeer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    claim: Claim


class _ClaimsFile(msgspec.Struct, forbid_unknown_fields=True):
    peers: list[_ClaimPeer] = []


def parse_see(text: bytes) -> See:
    """`default`: a list of kinds; `peers`: of {name: <cluster>, see: <kinds>}. Raises RulesError."""
    found = _read(text, _SeeFile)
    _distinct([peer.name for peer in found.peers])
    default = EVERYTHING if found.default is None else frozenset(found.default)
    return See({peer.name: frozenset(peer.see) for peer in found.peers}, default)


def parse_claims(text: bytes) -> dict[str, Claims]:
    """`peers`: of {name: <cluster>, claim: {addresses, namespaces, addressCheck}}. Raises RulesError."""
    found = _read(text, _ClaimsFile)
    _distinct([peer.name for peer in found.peers])
    return {peer.name: peer.claim.checked() for peer in found.peers}


def render_see(see: See) -> str:
    """The file. The same for equal rules."""
    peers = [{"name": name, "see": names(kinds)} for name, kinds in sorted(see.peers.items())]
    default: dict[str, Any] = {} if see.default == EVERYTHING else {"default": names(see.default)}
    return yaml.safe_dump({**default, "peers": peers}, sort_keys=False, default_flow_style=None)


def render_claims(claims: Mapping[str, Claims]) -> str:
    """The file. The same for equal rules."""
    peers = [{"name": name, "claim": written(claim)} for name, claim in sorted(claims.items())]
    return yaml.safe_dump({"peers": peers}, sort_keys=False, default_flow_style=None)


def names(kinds: frozenset[Kind]) -> list[str]:
    """In the order in which they are always named."""
    return [kind.value for kind in Kind if kind in kinds]


def written(claims: Claims) -> dict[str, Any]:
    """As in the file: what is not restricted is not named."""
    found = {
        "addresses": None if claims.addresses is None else list(claims.addresses),
        "namespaces": None if claims.namespaces is None else sorted(claims.namespaces),
        "addressCheck": claims.address_check,
    }
    return {name: value for name, value in found.items() if value is not None}


def _read(text: bytes, kind: type[T]) -> T:
    try:
        document = strictyaml.load(text)
        return msgspec.convert(document if document is not None else {}, kind)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise RulesError(" ".join(str(error).split())) from error


def _distinct(peers: list[str]) -> None:
    for name in peers:
        try:
            parse_cluster_name(name)
        except MeshError as error:
            raise RulesError(str(error)) from None
        if peers.count(name) > 1:
            raise RulesError(f"{name} is there twice")
