"""What a cluster says of itself, and whether it can be our peer (spec 2.4).

Wire form: JSON under `cilium/cluster-config/<name>`; zero fields are left out, `capabilities` never is.
Its owner compares the bytes, so they are written once and the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from mesh import gojson
from mesh.addressing import IdentityLayout
from mesh.errors import IncompatibleClusterError

SERVICES_ONLY = ""
SERVICES_AND_ENDPOINTSLICES = "services-and-endpointslices"
ENDPOINTSLICES_ONLY = "endpointslices-only"
EXPORT_MODES = frozenset({SERVICES_ONLY, SERVICES_AND_ENDPOINTSLICES, ENDPOINTSLICES_ONLY})

_UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """`service_exports_enabled` None: the writer does not know service exports."""

    id: int = 0
    synced_canaries: bool = False
    cached: bool = False
    max_connected_clusters: int = 0
    service_exports_enabled: bool | None = None
    endpoint_slices_export_mode: str = SERVICES_ONLY


class _Capabilities(
    msgspec.Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True, frozen=True
):
    synced_canaries: bool = False
    cached: bool = False
    max_connected_clusters: _UInt32 = 0
    service_exports_enabled: bool | None = None
    endpoint_slices_export_mode: str = ""


class _Capable(msgspec.Struct, forbid_unknown_fields=True):
    """Its own struct because `omit_defaults` must not drop `capabilities`."""

    capabilities: _Capabilities


class _Wire(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    id: _UInt32 = 0
    capabilities: _Capabilities = _Capabilities()


WIRE = gojson.Reader(_Wire)


def decode(name: str, value: bytes) -> ClusterConfig:
    """Read what is stored under `name`. Whether it can be a peer is for `check` to say."""
    wire = WIRE.read(name, value)
    said = wire.capabilities
    return ClusterConfig(
        wire.id,
        said.synced_canaries,
        said.cached,
        said.max_connected_clusters,
        said.service_exports_enabled,
        said.endpoint_slices_export_mode,
    )


def encode(config: ClusterConfig) -> bytes:
    """The value; the key is `mesh.keys.cluster_config(name)`."""
    capabilities = _Capabilities(
        config.synced_canaries,
        config.cached,
        config.max_connected_clusters,
        config.service_exports_enabled,
        config.endpoint_slices_export_mode,
    )
    return gojson.write(_Wire(config.id, capabilities) if config.id else _Capable(capabilities))


def check(config: ClusterConfig, *, local_id: int, layout: IdentityLayout, taken: Mapping[int, str]) -> None:
    """Raise IncompatibleClusterError unless the cluster can be our peer.

    `taken` are the ids of the other connected peers: the second cluster with one id is refused.
    """
    reason = layout.check_cluster_id(config.id)
    if not reason and config.id == local_id:
        reason = f"clusterID {config.id} is assigned to the local cluster"
    if not reason and config.id in taken:
        reason = f"clusterID {config.id} is already used by {taken[config.id]}"
    if not reason:
        reason = _check_capabilities(config, layout)
    if reason:
        raise IncompatibleClusterError(reason)


def _check_capabilities(config: ClusterConfig, layout: IdentityLayout) -> str:
    ours = layout.max_connected_clusters
    theirs = config.max_connected_clusters or 255  # who does not say it is older than the other mode
    if ours != theirs:
        # stricter than Cilium, whose readers in 255 mode accept anything: the numbers would mean other labels
        return f"maxConnectedClusters is {theirs}, ours is {ours}"
    if config.endpoint_slices_export_mode not in EXPORT_MODES:
        return f"unknown endpointSlicesExportMode {config.endpoint_slices_export_mode[:64]!r}"
    return ""
