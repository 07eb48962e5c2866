"""Whether backends are published as services, as endpoint slices, or both (spec 2.9). Pure."""

from __future__ import annotations

from enum import Enum

from mesh.clusterconfig import ENDPOINTSLICES_ONLY, SERVICES_AND_ENDPOINTSLICES


class ServiceMode(Enum):
    """The values of --clustermesh-service-v2. The first two differ for readers only."""

    PREFER_LEGACY = "prefer-legacy"
    PREFER_ENDPOINTSLICE = "prefer-endpointslice"
    ONLY_ENDPOINTSLICE = "only-endpointslice"

    @property
    def exports_services(self) -> bool:
        return self is not ServiceMode.ONLY_ENDPOINTSLICE

    @property
    def capability(self) -> str:
        """What the cluster's configuration says of it."""
        return SERVICES_AND_ENDPOINTSLICES if self.exports_services else ENDPOINTSLICES_ONLY
