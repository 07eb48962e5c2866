"""Which kinds each peer may see of this cluster: `see.yaml`, and what that makes of a client's role. Pure.

A kind that is not for a peer's eyes looks as if this cluster had nothing of it: its list is empty, its watch
is silent, its *synced* key is there. A refusal would not do: a reader whose prefix is refused is never
complete and comes back for ever (docs/adr/0012). Namespaces cannot be told apart: a kind is one range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from clustermesh_apiserver.proxy.access import SHARED, AccessError
from clustermesh_apiserver.proxy.authz import STATE, Grant, Role, RoleKind, prefix
from mesh.keys import Kind
from peering import rules
from peering.rules import EVERYTHING

Kinds = frozenset[Kind]


@dataclass(frozen=True, slots=True)
class Sight:
    """`peers`: common name -> kinds. Everybody else, the shared name too, sees `default`."""

    peers: Mapping[str, Kinds] = field(default_factory=dict)
    default: Kinds = EVERYTHING

    def of(self, name: str) -> Kinds:
        return self.peers.get(name, self.default)

    @property
    def digest(self) -> bytes:
        """The same for all that show everybody the same."""
        shown = [(name, self.of(name)) for name in sorted(self.peers) if self.of(name) != self.default]
        lines = [(name, sorted(kind.value for kind in kinds)) for name, kinds in [("", self.default), *shown]]
        return sha256(repr(lines).encode()).hexdigest().encode()

    def role(self, role: Role) -> Role:
        """The role with what its bearer may see."""
        seen = self.of(role.name)
        if role.kind is not RoleKind.REMOTE or seen == EVERYTHING:
            return role
        kept = tuple(grant for grant in role.grants if grant != STATE)
        kinds = tuple(_kind(kind) for kind in Kind if kind in seen)
        return replace(role, grants=kept + kinds, hidden=STATE)


def parse(text: bytes) -> Sight:
    """`see.yaml` (`peering.rules`). Raises AccessError."""
    try:
        found = rules.parse_see(text)
    except rules.RulesError as error:
        raise AccessError(str(error)) from error
    return Sight({f"{SHARED}-{name}": kinds for name, kinds in found.peers.items()}, found.default)


def _kind(kind: Kind) -> Grant:
    return prefix(f"cilium/state/{kind.value}/".encode())
