"""Does one stored pair come out of our codecs as it went in, and would Cilium's decoder take it?

Promises: refuses what Cilium's own decoders refuse with their defaults (local cluster id 0, highest cluster
id 255), and besides that a key that does not belong to its value. Does not ask whether a *peer* may claim
the entry: that needs the peer's name and id (each kind's `admit`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mesh import clusterconfig, identity, ipcache, keys, node, service
from mesh.addressing import IdentityLayout
from mesh.errors import DecodeError, MeshError
from mesh.keys import ClassifiedKey, Kind, Role

UNKNOWN_KEY = "unknown key"

_LAYOUT = IdentityLayout()


@dataclass(frozen=True, slots=True)
class Examined:
    """`reason` is empty when the pair was decoded; only then `is_identical` has a meaning."""

    reason: str = ""
    is_identical: bool = False


def examine(key: bytes, value: bytes) -> Examined:
    """Decode and encode again."""
    classified = keys.classify(key)
    if classified is None:
        return Examined(UNKNOWN_KEY)
    try:
        rewrite = _decode(classified, value)
    except DecodeError as error:
        return Examined(error.reason)
    try:
        return Examined(is_identical=rewrite() == (classified.suffix, value))
    except MeshError:  # a label that can be read but not written
        return Examined()


def _decode(key: ClassifiedKey, value: bytes) -> Callable[[], tuple[str, bytes]]:
    """What writes the decoded entry: its suffix and bytes."""
    match key:
        case ClassifiedKey(role=Role.CLUSTER_CONFIG, cluster=name):
            config = clusterconfig.decode(name, value)
            return lambda: (name, clusterconfig.encode(config))
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.NODES):
            item = node.decode(key.suffix, value)
            _check_owner(key, item.cluster, item.cluster_id)
            return partial(node.encode, item)
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.SERVICES):
            share = service.decode(key.suffix, value)
            _check_owner(key, share.cluster, share.cluster_id)
            return partial(service.encode, share)
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.IPS):
            return partial(ipcache.encode, ipcache.decode(key.suffix, value))
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.IDENTITIES):
            return partial(identity.encode, identity.decode(key.suffix, value))
        case _:  # timestamps nobody reads, locks, and kinds that are carried as bytes
            return lambda: (key.suffix, value)


def _check_owner(key: ClassifiedKey, cluster: str, cluster_id: int) -> None:
    refused = _LAYOUT.check_cluster_id(cluster_id) if cluster_id else ""  # 0 is the decoder's own cluster
    if not refused and cluster != key.cluster:
        refused = f"cluster name does not match key: got {cluster[:64]!r}"
    if refused:
        raise DecodeError(key.suffix, refused)
