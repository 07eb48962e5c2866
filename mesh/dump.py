"""Does one stored pair come out of our codecs as it went in, and would Cilium's decoder take it?

Promises: refuses what Cilium's own decoders refuse with their defaults (local cluster id 0, highest cluster
id 255), and besides that a key that does not belong to its value. Does not ask whether a *peer* may claim
the entry: that needs the peer's name and id (each kind's `admit`).

Identical means: our codec writes the bytes that are stored. Two things are left out of the comparison: JSON
members that no version we know has, which every decoder ignores, and how an endpoint slice is compressed,
which no two encoders do the same way. Its message is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mesh import clusterconfig, endpointslice, identity, ipcache, keys, node, service, serviceexport
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


@dataclass(frozen=True, slots=True)
class _Decoded:
    """How the entry is written, and what of the stored value that is compared with."""

    rewrite: Callable[[], tuple[str, bytes]]
    comparable: Callable[[bytes], bytes] = bytes


def examine(key: bytes, value: bytes) -> Examined:
    """Decode and encode again."""
    classified = keys.classify(key)
    if classified is None:
        return Examined(UNKNOWN_KEY)
    try:
        decoded = _decode(classified, value)
    except DecodeError as error:
        return Examined(error.reason)
    try:
        suffix, written = decoded.rewrite()
    except MeshError:  # a label that can be read but not written
        return Examined()
    return Examined(
        is_identical=suffix == classified.suffix and written in (value, decoded.comparable(value))
    )


def _decode(key: ClassifiedKey, value: bytes) -> _Decoded:
    match key:
        case ClassifiedKey(role=Role.CLUSTER_CONFIG, cluster=name):
            config = clusterconfig.decode(name, value)
            return _Decoded(lambda: (name, clusterconfig.encode(config)), clusterconfig.WIRE.known)
        case ClassifiedKey(role=Role.STATE | Role.CACHE, kind=Kind() as kind):
            return _decode_entry(kind, key, value)
        case _:  # timestamps nobody reads, and locks
            return _Decoded(lambda: (key.suffix, value))


def _decode_entry(kind: Kind, key: ClassifiedKey, value: bytes) -> _Decoded:
    match kind:
        case Kind.NODES:
            item = node.decode(key.suffix, value)
            _check_owner(key, item.cluster, item.cluster_id)
            return _Decoded(partial(node.encode, item), node.WIRE.known)
        case Kind.SERVICES:
            share = service.decode(key.suffix, value)
            _check_owner(key, share.cluster, share.cluster_id)
            return _Decoded(partial(service.encode, share), service.WIRE.known)
        case Kind.IPS:
            return _Decoded(partial(ipcache.encode, ipcache.decode(key.suffix, value)), ipcache.WIRE.known)
        case Kind.IDENTITIES:
            return _Decoded(partial(identity.encode, identity.decode(key.suffix, value)))
        case Kind.ENDPOINTSLICES:
            part = endpointslice.decode(key.suffix, value)
            _check_owner(key, part.cluster)
            return _Decoded(lambda: (part.key, endpointslice.message(part)), endpointslice.unpack)
        case Kind.SERVICEEXPORTS:
            export = serviceexport.decode(key.suffix, value)
            _check_owner(key, export.cluster)
            return _Decoded(partial(serviceexport.encode, export), serviceexport.WIRE.known)


def _check_owner(key: ClassifiedKey, cluster: str, cluster_id: int = 0) -> None:
    refused = _LAYOUT.check_cluster_id(cluster_id) if cluster_id else ""  # 0 is the decoder's own cluster
    if not refused and cluster != key.cluster:
        refused = f"cluster name does not match key: got {cluster[:64]!r}"
    if refused:
        raise DecodeError(key.suffix, refused)
