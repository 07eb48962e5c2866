"""The etcd key grammar of a mesh: build prefixes, and tell what a key is (spec 2.1, 2.2).

Wire freeze: every text here is read and written by peers. Keys are joined texts without escaping; a prefix
ends in "/" so that `east` never matches `east2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HEARTBEAT = b"cilium/.heartbeat"
CONFIG_PREFIX = b"cilium/cluster-config/"

_VERSION = "v1"
_ADDRESS_SPACE = "default"  # the only one; state keys of IPs say it where cache keys say the cluster


class Kind(Enum):
    """What is synchronised, by its name in keys."""

    NODES = "nodes"
    IDENTITIES = "identities"
    IPS = "ip"
    SERVICES = "services"
    ENDPOINTSLICES = "endpointslices"
    SERVICEEXPORTS = "serviceexports"


def cluster_config(name: str) -> bytes:
    return CONFIG_PREFIX + name.encode()


def state_prefix(kind: Kind, cluster: str) -> bytes:
    """Where a cluster keeps its own entries; suffixes are relative to this."""
    match kind:
        case Kind.IPS:
            segment = _ADDRESS_SPACE
        case Kind.IDENTITIES:
            segment = "id"
        case _:
            segment = cluster
    return f"cilium/state/{kind.value}/{_VERSION}/{segment}/".encode()


def cache_prefix(kind: Kind, cluster: str) -> bytes:
    """Where a cluster keeps its copies of a peer's entries; the suffixes are the same."""
    tail = "id/" if kind is Kind.IDENTITIES else ""
    return f"cilium/cache/{kind.value}/{_VERSION}/{cluster}/{tail}".encode()


def synced_prefix(cluster: str) -> bytes:
    """Below are a cluster's canaries, one per kind."""
    return f"cilium/synced/{cluster}/".encode()


def synced_key(kind: Kind, cluster: str, *, cached: bool = False) -> bytes:
    """The canary that says a kind is completely listed. It names the kind's root, not its entries' prefix."""
    root = "cache" if cached else "state"
    return synced_prefix(cluster) + f"cilium/{root}/{kind.value}/{_VERSION}".encode()


class Role(Enum):
    """What a key is for."""

    HEARTBEAT = "heartbeat"
    CLUSTER_CONFIG = "cluster-config"
    SYNCED = "synced"
    STATE = "state"
    CACHE = "cache"
    LOCAL = "local"  # locks and allocator keys: their owner's business, no part of the mesh


@dataclass(frozen=True, slots=True)
class ClassifiedKey:
    """`cluster` is empty where the key does not say it; `suffix` is relative to the kind's prefix."""

    role: Role
    kind: Kind | None = None
    cluster: str = ""
    suffix: str = ""


def classify(key: bytes) -> ClassifiedKey | None:  # noqa: PLR0911 - one a case
    """What `key` is; None when it is no key of a mesh."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    match text.split("/"):
        case ["cilium", ".heartbeat"]:
            return ClassifiedKey(Role.HEARTBEAT)
        case ["cilium", ".initlock" | "kvstoremesh-lock", _, *_] | ["cilium", ".has-cluster-config"]:
            return ClassifiedKey(Role.LOCAL, suffix=text)
        case ["cilium", "cluster-config", cluster] if cluster:
            return ClassifiedKey(Role.CLUSTER_CONFIG, None, cluster, cluster)
        case ["cilium", "synced", cluster, "cilium", "state" | "cache", name, "v1"] if cluster:
            kind = _kind(name)
            return ClassifiedKey(Role.SYNCED, kind, cluster) if kind else None
        case ["cilium", "state", name, "v1", *rest] if all(rest) and rest:
            return _state(_kind(name), rest)
        case ["cilium", "cache", name, "v1", *rest] if all(rest) and rest:
            return _cache(_kind(name), rest)
        case _:
            return None


def _kind(name: str) -> Kind | None:
    try:
        return Kind(name)
    except ValueError:
        return None


def _state(kind: Kind | None, rest: list[str]) -> ClassifiedKey | None:  # noqa: PLR0911 - one a case
    match kind, rest:
        case None, _:
            return None
        case Kind.IDENTITIES, ["value" | "locks", *_]:
            return ClassifiedKey(Role.LOCAL, kind, suffix="/".join(rest))
        case Kind.IDENTITIES, ["id", number]:
            return ClassifiedKey(Role.STATE, kind, "", number)
        case Kind.IPS, [space, address, *more] if space == _ADDRESS_SPACE:
            return ClassifiedKey(Role.STATE, kind, "", "/".join((address, *more)))
        case ((Kind.IDENTITIES | Kind.IPS), _):
            return None
        case _, [only]:  # an entry that leaves out its cluster: empty elements vanish from keys
            return ClassifiedKey(Role.STATE, kind, "", only)
        case _, [cluster, *more]:
            return ClassifiedKey(Role.STATE, kind, cluster, "/".join(more))
    return None


def _cache(kind: Kind | None, rest: list[str]) -> ClassifiedKey | None:
    match kind, rest:
        case Kind.IDENTITIES, [cluster, "id", number]:
            return ClassifiedKey(Role.CACHE, kind, cluster, number)
        case ((None | Kind.IDENTITIES), _):
            return None
        case _, [cluster, first, *more]:
            return ClassifiedKey(Role.CACHE, kind, cluster, "/".join((first, *more)))
    return None
