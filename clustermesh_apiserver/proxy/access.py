"""Which clients of the mesh are let in: the authentication mode, the users' list, the revoked. Pure.

`users.yaml` is the ConfigMap `clustermesh-remote-users` (spec 4.5): a `remote-<cluster>` that is not in it is
nobody. The revoked are named by certificate or by common name. Both files are strict: an unknown word in
them is an error, and the file that was good before goes on counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import msgspec
import yaml

from aiokit import strictyaml
from clustermesh_apiserver.proxy.authz import Role, RoleKind, is_remote_of_cluster

SHARED = "remote"  # the common name that all clusters may share
T = TypeVar("T")


class AccessError(Exception):
    """A file that cannot be used."""


class AuthMode(Enum):
    """Which common names other clusters come with, as Cilium's `authMode`."""

    LEGACY = "legacy"  # the shared one
    MIGRATION = "migration"  # either
    CLUSTER = "cluster"  # one for each cluster


@dataclass(frozen=True, slots=True)
class Revoked:
    """Who is shut out although its certificate is good."""

    names: frozenset[str] = frozenset()
    serials: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Access:
    """`users`: the clusters that are let in by name; None when no list is kept: all that we issued."""

    mode: AuthMode = AuthMode.MIGRATION
    users: frozenset[str] | None = None
    revoked: Revoked = Revoked()

    def objection(self, role: Role, serial: int) -> str:
        """Why this client is not let in, in a few fixed words; empty when it is."""
        if role.name in self.revoked.names or serial in self.revoked.serials:
            return "revoked"
        if role.kind is not RoleKind.REMOTE:
            return ""
        if role.name == SHARED:
            return "authentication mode" if self.mode is AuthMode.CLUSTER else ""
        if self.mode is AuthMode.LEGACY:
            return "authentication mode"
        return "" if self.users is None or role.name in self.users else "not a user"


class _User(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    role: str


class _Users(msgspec.Struct, forbid_unknown_fields=True):
    users: list[_User] | None = None


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    serial: str = ""


class _Revocations(msgspec.Struct, forbid_unknown_fields=True):
    revoked: list[_Entry] | None = None


def parse_users(text: bytes) -> frozenset[str]:
    """The names of users.yaml. Raises AccessError."""
    users = read(text, _Users).users or []
    for user in users:
        if user.role != "remote":
            raise AccessError(f"user {user.name!r}: no role {user.role!r}")
        if user.name != SHARED and not is_remote_of_cluster(user.name):
            raise AccessError(f"{user.name!r} is no name of another cluster's user")
    return frozenset(user.name for user in users)


def parse_revoked(text: bytes) -> Revoked:
    """`revoked:` is a list of `name: <common name>` or `serial: "<hexadecimal>"`. Raises AccessError."""
    entries = read(text, _Revocations).revoked or []
    for entry in entries:
        if bool(entry.name) == bool(entry.serial):
            raise AccessError("an entry of `revoked` has either a name or a serial")
    return Revoked(
        frozenset(entry.name for entry in entries if entry.name),
        frozenset(_serial(entry.serial) for entry in entries if entry.serial),
    )


def _serial(text: str) -> int:
    """As `openssl x509 -serial` prints it, with or without colons."""
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        raise AccessError(f"{text!r} is no serial number in hexadecimal") from None


def read(text: bytes, kind: type[T]) -> T:
    """A strict file of ours. Raises AccessError."""
    try:
        document = strictyaml.load(text)
        return msgspec.convert(document if document is not None else {}, kind)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise AccessError(" ".join(str(error).split())) from error
