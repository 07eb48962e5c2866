"""Which endpoints of a slice are backends, and how slices of one service combine."""

import pytest

from clustermesh_apiserver import slice as slices
from k8s.discovery import EndpointSlice
from mesh.endpointslice import MANAGED_BY, MESH_CONTROLLER
from mesh.service import Port
from tests.clustermesh_apiserver import objects as o

HTTP = {"http": Port("TCP", 8080)}


@pytest.mark.parametrize(
    ("conditions", "is_backend"),
    [
        ({}, True),
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": True}, False),
    ],
)
def test_ready_or_serving_endpoints_are_backends(
    conditions: dict[str, bool | None], is_backend: bool
) -> None:
    item = o.endpoint_slice("s", {"addresses": ["10.3.1.44"], "conditions": conditions})
    assert slices.read_slice(item).backends == ({"10.3.1.44": HTTP} if is_backend else {})


def test_a_port_without_a_name_has_the_empty_one() -> None:
    body = o.slice_body("s", o.backend("10.3.1.44"))
    body["ports"] = [{"name": None, "protocol": None, "port": 53}, {"name": "all", "port": None}]
    assert slices.read_slice(o.read(body, EndpointSlice)).backends == {"10.3.1.44": {"": Port("TCP", 53)}}


def test_host_names_are_no_addresses() -> None:
    item = o.endpoint_slice("s", o.backend("db.example.org"), o.backend("fe80::1%eth0"))
    assert slices.read_slice(item).backends == {}


def test_an_address_is_written_canonically() -> None:
    item = o.endpoint_slice("s", o.backend("FD00:0::1"), o.backend("::ffff:10.3.1.44"))
    assert sorted(slices.read_slice(item).backends) == ["10.3.1.44", "fd00::1"]


def test_a_later_slice_replaces_all_that_an_earlier_one_says_of_an_address() -> None:
    earlier = slices.read_slice(
        o.endpoint_slice("a", o.backend("10.3.1.44", hostname="old", zone="z"), port=1)
    )
    later = slices.read_slice(o.endpoint_slice("b", o.backend("10.3.1.44"), o.backend("10.3.1.45")))
    merged = slices.merge([earlier, later])
    assert merged == slices.SliceBackends({"10.3.1.44": HTTP, "10.3.1.45": HTTP}, {}, {})


def test_of_an_address_that_one_slice_has_twice_the_later_endpoint_counts() -> None:
    item = o.endpoint_slice("s", o.backend("10.3.1.44", hostname="old", zone="z"), o.backend("10.3.1.44"))
    assert slices.read_slice(item) == slices.SliceBackends({"10.3.1.44": HTTP}, {}, {})


def test_slices_that_a_mesh_made_or_that_belong_to_no_service_have_no_owner() -> None:
    managed_by = {MANAGED_BY: MESH_CONTROLLER}
    assert slices.owner(o.endpoint_slice("s")) == "shop/web"
    assert slices.owner(o.endpoint_slice("s", labels=managed_by)) == ""
    assert slices.owner(o.endpoint_slice("s", labels={slices.SERVICE_NAME: ""})) == ""
