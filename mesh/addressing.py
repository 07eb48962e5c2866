"""Who is who: cluster ids and names, and the numbering of security identities (spec section 1).

Promises: an `IdentityLayout` or a name returned by `parse_cluster_name` is valid. Does not know label sets:
`mesh.identity` does. The layout is frozen: the same numbers are in every peer's maps and on the wire.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

from mesh.errors import InvalidNameError, MeshError

ClusterID = NewType("ClusterID", int)
ClusterName = NewType("ClusterName", str)
Identity = NewType("Identity", int)

UNSET_CLUSTER = ClusterID(0)
WIRE_BITS = 24  # what a VXLAN VNI carries; the 8 bits above are the scope, 0 for everything exported
MAX_IDENTITY = 2**32 - 1
MAX_CLUSTER_NAME = 32
UNSET_NAME = "default"  # who has no name is in no mesh
CAPACITIES = (255, 511)  # of max-connected-clusters
FIRST_ALLOCATED = 256  # below are reserved, well-known and user-reserved identities, in every cluster

_CLUSTER_NAME = re.compile(r"([a-z0-9][-a-z0-9]*)?[a-z0-9]")


class ReservedIdentity(IntEnum):
    """Identities that mean the same in every cluster (spec 1.2)."""

    UNKNOWN = 0
    HOST = 1
    WORLD = 2
    UNMANAGED = 3
    HEALTH = 4
    INIT = 5
    REMOTE_NODE = 6
    KUBE_APISERVER = 7
    INGRESS = 8
    WORLD_IPV4 = 9
    WORLD_IPV6 = 10
    AGGREGATE_CLUSTER = 11
    AGGREGATE_CLUSTER_MESH = 12
    AGGREGATE_WORLD = 13
    AGGREGATE_REMOTE_NODE = 14

    @property
    def text(self) -> str:
        """The name as in the label `reserved:<name>`."""
        return self.name.lower().replace("_", "-")


# what a peer has reason to say of an address of its own; the rest would make its addresses look like ours
PEER_RESERVED = frozenset(
    {
        ReservedIdentity.REMOTE_NODE,
        ReservedIdentity.HEALTH,
        ReservedIdentity.INGRESS,
        ReservedIdentity.KUBE_APISERVER,
    }
)


def parse_cluster_name(text: str) -> ClusterName:
    """The name, or InvalidNameError (spec 1.5)."""
    if len(text) > MAX_CLUSTER_NAME:
        raise InvalidNameError(f"cluster name {text[:48]!r} exceeds {MAX_CLUSTER_NAME} characters")
    if not _CLUSTER_NAME.fullmatch(text):
        raise InvalidNameError(
            f"cluster name {text!r} must be lower-case letters, digits and '-', with no '-' at either end"
        )
    return ClusterName(text)


@dataclass(frozen=True, slots=True)
class IdentityLayout:
    """How an identity's 24 bits are split between cluster id and number. Equal in the whole mesh."""

    max_connected_clusters: int = 255

    def __post_init__(self) -> None:
        if self.max_connected_clusters not in CAPACITIES:
            raise MeshError(f"max-connected-clusters must be 255 or 511, not {self.max_connected_clusters}")

    @property
    def shift(self) -> int:
        return WIRE_BITS - self.max_connected_clusters.bit_length()

    def minimum(self, cluster_id: int) -> Identity:
        """The first identity a cluster may allocate; cluster 0 shares its numbers with the reserved ones."""
        return Identity(cluster_id << self.shift if cluster_id else FIRST_ALLOCATED)

    def maximum(self, cluster_id: int) -> Identity:
        """The last one, included."""
        return Identity(((cluster_id + 1) << self.shift) - 1)

    def contains(self, cluster_id: int, identity: int) -> bool:
        return self.minimum(cluster_id) <= identity <= self.maximum(cluster_id)

    def cluster_of(self, identity: int) -> ClusterID:
        """Who allocated it. ValueError for node-local scopes: those never leave their node."""
        if identity >> WIRE_BITS or identity < 0:
            raise ValueError(f"identity {identity} is not of global scope")
        return ClusterID(identity >> self.shift)

    def check_cluster_id(self, cluster_id: int) -> str:
        """Why the id cannot be a member's, in Cilium's words; empty when it can (spec 1.6)."""
        if cluster_id == 0:
            return "ClusterID 0 is reserved"
        if cluster_id > self.max_connected_clusters:
            return f"ClusterID > {self.max_connected_clusters} is not supported"
        return ""


@dataclass(frozen=True, slots=True)
class PeerScope:
    """What one cluster may claim: its name, its id and with it its identities, some reserved ones."""

    name: ClusterName
    cluster_id: ClusterID
    layout: IdentityLayout
    reserved: frozenset[int] = PEER_RESERVED
    _first: Identity = field(init=False, repr=False, compare=False)
    _last: Identity = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_first", self.layout.minimum(self.cluster_id))
        object.__setattr__(self, "_last", self.layout.maximum(self.cluster_id))

    @property
    def first(self) -> Identity:
        """The lowest identity of its own."""
        return self._first

    @property
    def last(self) -> Identity:
        """The highest one."""
        return self._last

    def owns(self, identity: int) -> bool:
        return self._first <= identity <= self._last


def member_scope(name: str, cluster_id: int, max_connected_clusters: int) -> PeerScope:
    """The scope of a cluster that wants to be in a mesh, from its settings (spec 1.5, 1.6).

    MeshError, in words that name the flag, when it cannot be.
    """
    if max_connected_clusters not in CAPACITIES:
        raise MeshError(f"--max-connected-clusters must be 255 or 511, not {max_connected_clusters}")
    if not 1 <= cluster_id <= max_connected_clusters:
        raise MeshError(
            f"--cluster-id must be between 1 and {max_connected_clusters} in a mesh, not {cluster_id}"
        )
    if name == UNSET_NAME:
        raise MeshError(f"--cluster-name {UNSET_NAME!r} means unset and cannot be used with a cluster id")
    try:
        checked = parse_cluster_name(name)
    except InvalidNameError as error:
        raise MeshError(f"--cluster-name: {error}") from error
    return PeerScope(checked, ClusterID(cluster_id), IdentityLayout(max_connected_clusters))
