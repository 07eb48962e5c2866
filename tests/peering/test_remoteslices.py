"""A peer's endpoint slices as backends, and changing over between services and slices."""

from __future__ import annotations

from agent.addresscheck import AddressCheck, Mode
from agent.desired import Clock
from agent.remoteservices import RemoteServices
from agent.services import Services
from mesh.addressing import ClusterID
from mesh.endpointslice import ClusterEndpointSlice
from mesh.keys import Kind
from mesh.service import GlobalService, Port, Zone
from mesh.sliceendpoint import Conditions, Endpoint, EndpointPort, Hints
from peering.remoteslices import RemoteSlices

HTTP = EndpointPort("http", "TCP", 8080)
OF_WEB = {"kubernetes.io/service-name": "web"}
READY = Conditions(ready=True)


def piece(name: str, *endpoints: Endpoint, labels: dict[str, str] | None = None) -> ClusterEndpointSlice:
    return ClusterEndpointSlice(
        "west",
        ClusterID(2),
        "shop",
        name,
        OF_WEB if labels is None else labels,
        endpoints=endpoints,
        ports=(HTTP,),
    )


def backends(slices: RemoteSlices) -> set[str]:
    service = slices.service("shop/web")
    return set(service.backends) if service else set()


def test_the_slices_of_a_service_are_its_backends_together() -> None:
    slices = RemoteSlices()
    detailed = Endpoint(("10.2.1.5",), READY, hostname="web-0", zone="a", hints=Hints(("a", "b")))
    assert slices.set("shop/web-1", piece("web-1", detailed)) == {"shop/web"}
    slices.set("shop/web-2", piece("web-2", Endpoint(("10.2.1.6",), READY)))
    service = slices.service("shop/web")
    assert service == GlobalService(
        "west",
        "shop",
        "web",
        {},
        {ip: {"http": Port("TCP", 8080)} for ip in ("10.2.1.5", "10.2.1.6")},
        {"10.2.1.5": "web-0"},
        {"10.2.1.5": Zone("a", ("a", "b"))},
        cluster_id=ClusterID(2),
    )
    assert slices.set("shop/web-1", None) == {"shop/web"}
    assert backends(slices) == {"10.2.1.6"}
    slices.set("shop/web-2", None)
    assert slices.service("shop/web") is None


def test_an_endpoint_counts_that_is_ready_or_still_serving() -> None:
    slices = RemoteSlices()
    states = {
        "10.2.1.1": Conditions(),  # nothing said is ready
        "10.2.1.2": Conditions(ready=True),
        "10.2.1.3": Conditions(ready=False, serving=True, terminating=True),
        "10.2.1.4": Conditions(ready=False),
        "10.2.1.5": Conditions(ready=False, serving=False, terminating=True),
    }
    slices.set("shop/web-1", piece("web-1", *(Endpoint((ip,), said) for ip, said in states.items())))
    assert backends(slices) == {"10.2.1.1", "10.2.1.2", "10.2.1.3"}


def test_slices_of_no_service_and_mirrored_ones_are_left_out() -> None:
    slices, endpoint = RemoteSlices(), Endpoint(("10.2.1.5",), READY)
    mirrored = {
        **OF_WEB,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io",
    }
    assert slices.set("shop/a", piece("a", endpoint, labels={})) == set()
    assert slices.set("shop/b", piece("b", endpoint, labels=mirrored)) == set()
    assert len(slices) == 0


def test_a_slice_that_moves_to_another_service_leaves_the_first() -> None:
    slices, endpoint = RemoteSlices(), Endpoint(("10.2.1.5",), READY)
    slices.set("shop/a", piece("a", endpoint))
    moved = piece("a", endpoint, labels={"kubernetes.io/service-name": "other"})
    assert slices.set("shop/a", moved) == {"shop/web", "shop/other"}
    assert backends(slices) == set()


def test_ports_without_a_usable_number_are_left_out_and_an_unnamed_one_is_named_empty() -> None:
    slices = RemoteSlices()
    ports = (EndpointPort(None, None, 80), EndpointPort("none"), EndpointPort("zero", "TCP", 0))
    item = ClusterEndpointSlice(
        "west", ClusterID(2), "shop", "a", OF_WEB, endpoints=(Endpoint(("10.2.1.5",), READY),), ports=ports
    )
    slices.set("shop/a", item)
    service = slices.service("shop/web")
    assert service is not None
    assert service.backends == {"10.2.1.5": {"": Port("TCP", 80)}}


def test_changing_over_keeps_what_was_said_the_old_way_until_the_new_way_says_it() -> None:
    table = Services(Clock())
    remote = RemoteServices("west", table, AddressCheck(Mode.WARN, lambda key, reason: None))
    whole = GlobalService("west", "shop", "web", {}, {"10.2.1.1": {}}, cluster_id=ClusterID(2))
    remote.set_service("shop/web", whole)
    remote.read_as(Kind.ENDPOINTSLICES)
    assert set(table.remotes("shop/web")["west"].backends) == {"10.2.1.1"}
    remote.set_slice("shop/web-1", piece("web-1", Endpoint(("10.2.1.9",), READY)))
    assert set(table.remotes("shop/web")["west"].backends) == {"10.2.1.9"}
    remote.set_service("shop/web", None)
    assert set(table.remotes("shop/web")["west"].backends) == {"10.2.1.9"}
    remote.set_slice("shop/web-1", None)
    assert table.remotes("shop/web") == {}
