"""Whether backends travel as services, as endpoint slices, or both: writing and reading (spec 2.9). Pure."""

from __future__ import annotations

from enum import Enum

from mesh.clusterconfig import ENDPOINTSLICES_ONLY, SERVICES_AND_ENDPOINTSLICES, ClusterConfig
from mesh.keys import Kind

ALWAYS = (Kind.NODES, Kind.IDENTITIES, Kind.IPS)
DEFAULT_KINDS = (*ALWAYS, Kind.SERVICES)


class ServiceMode(Enum):
    """The values of --clustermesh-service-v2. For writers the first two are the same."""

    PREFER_LEGACY = "prefer-legacy"
    PREFER_ENDPOINTSLICE = "prefer-endpointslice"
    ONLY_ENDPOINTSLICE = "only-endpointslice"

    @property
    def exports_services(self) -> bool:
        return self is not ServiceMode.ONLY_ENDPOINTSLICE

    @property
    def capability(self) -> str:
        """What the writer's cluster configuration says of it."""
        return SERVICES_AND_ENDPOINTSLICES if self.exports_services else ENDPOINTSLICES_ONLY


def imported(mode: ServiceMode, remote: ClusterConfig) -> tuple[Kind, ...]:
    """What is imported of a peer. Neither services nor slices when it does not have what we want.

    A peer with nothing but endpoint slices is read so in every mode, where Cilium's default mode would get
    no backends of it at all.
    """
    exported = remote.endpoint_slices_export_mode
    if exported == ENDPOINTSLICES_ONLY:
        return (*ALWAYS, Kind.ENDPOINTSLICES)
    if mode is ServiceMode.PREFER_LEGACY:
        return DEFAULT_KINDS
    return (*ALWAYS, Kind.ENDPOINTSLICES) if exported == SERVICES_AND_ENDPOINTSLICES else ALWAYS
