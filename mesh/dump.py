"""Does one stored pair come out of our codecs as it went in, and would Cilium's decoder take it?

Promises: refuses what Cilium's own decoders refuse with their defaults (local cluster id 0, highest cluster
id 255), and besides that a key that does not belong to its value. Does not ask whether a *peer* may claim
the entry: that needs the peer's name and id (each kind's `admit`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh import clusterconfig, identity, ipcache, keys, node, service
from mesh.addressing import IdentityLayout
from mesh.errors import DecodeError
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
        suffix, encoded = _round_trip(classified, value)
    except DecodeError as error:
        return Examined(error.reason)
    return Examined(is_identical=encoded == value and suffix == classified.suffix)


def _round_trip(key: ClassifiedKey, value: bytes) -> tuple[str, bytes]:
    """The pair as we would write it."""
    match key:
        case ClassifiedKey(role=Role.CLUSTER_CONFIG, cluster=name):
            return name, clusterconfig.encode(clusterconfig.decode(name, value))
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.NODES):
            item = node.decode(key.suffix, value)
            _check_owner(key, item.cluster, item.cluster_id)
            return node.encode(item)
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.SERVICES):
            share = service.decode(key.suffix, value)
            _check_owner(key, share.cluster, share.cluster_id)
            return service.encode(share)
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.IPS):
            return ipcache.encode(ipcache.decode(key.suffix, value))
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind.IDENTITIES):
            return identity.encode(identity.decode(key.suffix, value))
        case _:  # timestamps nobody reads, locks, and kinds that are carried as bytes
            return key.suffix, value


def _check_owner(key: ClassifiedKey, cluster: str, cluster_id: int) -> None:
    refused = _LAYOUT.check_cluster_id(cluster_id) if cluster_id else ""  # 0 is the decoder's own cluster
    if not refused and cluster != key.cluster:
        refused = f"cluster name does not match key: got {cluster[:64]!r}"
    if refused:
        raise DecodeError(key.suffix, refused)
