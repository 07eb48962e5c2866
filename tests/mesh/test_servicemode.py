"""The table of spec 2.9: what each mode writes, and what it reads of whom."""

import pytest

from mesh.clusterconfig import ENDPOINTSLICES_ONLY, SERVICES_AND_ENDPOINTSLICES, ClusterConfig
from mesh.keys import Kind
from mesh.servicemode import ALWAYS, ServiceMode, imported

LEGACY, PREFER, ONLY = ServiceMode
SERVICES_ONLY = ""


@pytest.mark.parametrize(
    ("mode", "services", "capability"),
    [
        (LEGACY, True, SERVICES_AND_ENDPOINTSLICES),
        (PREFER, True, SERVICES_AND_ENDPOINTSLICES),
        (ONLY, False, ENDPOINTSLICES_ONLY),
    ],
)
def test_what_a_mode_writes(mode: ServiceMode, services: bool, capability: str) -> None:
    assert (mode.exports_services, mode.capability) == (services, capability)


@pytest.mark.parametrize(
    ("mode", "exported", "backends"),
    [
        (LEGACY, SERVICES_ONLY, {Kind.SERVICES}),
        (LEGACY, SERVICES_AND_ENDPOINTSLICES, {Kind.SERVICES}),
        (LEGACY, ENDPOINTSLICES_ONLY, {Kind.ENDPOINTSLICES}),
        (PREFER, SERVICES_ONLY, set()),
        (PREFER, SERVICES_AND_ENDPOINTSLICES, {Kind.ENDPOINTSLICES}),
        (ONLY, ENDPOINTSLICES_ONLY, {Kind.ENDPOINTSLICES}),
    ],
)
def test_what_a_mode_reads_of_a_peer(mode: ServiceMode, exported: str, backends: set[Kind]) -> None:
    remote = ClusterConfig(id=2, endpoint_slices_export_mode=exported)
    assert set(imported(mode, remote)) == set(ALWAYS) | backends
