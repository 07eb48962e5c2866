"""Endpoint slices of exported services, in any order of their objects: they mean what services mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given

from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from clustermesh_apiserver.slice_export import SliceExport
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.watch import ObjectDelta
from mesh import endpointslice, service
from mesh.endpointslice import MANAGED_BY, MESH_CONTROLLER
from mesh.sliceendpoint import Conditions, Endpoint, EndpointPort, Hints
from peering.remoteslices import RemoteSlices
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver import test_service_export as services

WEB = {"shop/web": o.service()}


def build() -> SliceExport:
    return SliceExport(Converter(o.EAST), GlobalNamespaces(True))


def feed(export: SliceExport, step: services.Step) -> Exported:
    match step:
        case Service():
            return export.services(ObjectDelta({step.metadata.key: step}))
        case EndpointSlice():
            return export.slices(ObjectDelta({step.metadata.key: step}))
        case Namespace():
            return export.namespaces(ObjectDelta({step.metadata.key: step}))
        case (kind, name):
            if kind is Service:
                return export.services(ObjectDelta(removes={name}))
            if kind is EndpointSlice:
                return export.slices(ObjectDelta(removes={name}))
            return export.namespaces(ObjectDelta(removes={name}))


def published(body: o.Body) -> endpointslice.ClusterEndpointSlice:
    export = build()
    export.services(ObjectDelta(WEB))
    export.slices(ObjectDelta({"shop/x": o.read(body, EndpointSlice)}))
    return endpointslice.admit(endpointslice.decode("shop/x", export.pairs()[b"shop/x"]), o.EAST)


@given(services.STEPS)
def test_any_history_ends_in_what_the_final_objects_give_and_means_what_services_mean(
    steps: list[services.Step],
) -> None:
    export, legacy = build(), services.build()
    stored: dict[bytes, bytes] = {}
    world: services.World = {Service: {}, EndpointSlice: {}, Namespace: {}}
    for step in steps:
        for key, value in feed(export, step).changes.items():
            assert stored.get(key) != value
            if value is None:
                del stored[key]
            else:
                stored[key] = value
        services.feed(legacy, step)
        services.remember(world, step)
    at_once = build()
    for kind in (EndpointSlice, Service, Namespace):
        for item in world[kind].values():
            feed(at_once, item)
    assert stored == export.pairs() == at_once.pairs()
    assert read_as_services(stored) == without_empty(legacy.pairs())


def read_as_services(pairs: dict[bytes, bytes]) -> dict[str, Any]:
    """What an agent makes of the slices."""
    slices, touched = RemoteSlices(), set[str]()
    for key, value in pairs.items():
        touched |= slices.set(key.decode(), endpointslice.decode(key.decode(), value))
    return facts(filter(None, map(slices.service, touched)))


def without_empty(pairs: dict[bytes, bytes]) -> dict[str, Any]:
    return facts(service.decode(key.decode(), value) for key, value in pairs.items())


def facts(found: Iterable[service.GlobalService]) -> dict[str, Any]:
    return {s.key: (s.cluster, s.cluster_id, s.backends, s.hostnames, s.zones) for s in found if s.backends}


def test_a_slice_is_published_as_it_is() -> None:
    body = o.slice_body(
        "x",
        o.backend(
            "10.3.1.44", hostname="web-0", nodeName="worker-1", zone="a", hints={"forZones": [{"name": "a"}]}
        ),
        {"addresses": ["10.3.1.45"], "conditions": {"ready": False, "serving": True, "terminating": True}},
        labels={"app": "web"},
    )
    body["metadata"]["annotations"] = {"note": "kept"}
    item = published(body)
    assert (item.cluster, item.cluster_id, item.address_type) == ("east", 3, "IPv4")
    assert item.labels == {"kubernetes.io/service-name": "web", "app": "web"}
    assert item.annotations == {"note": "kept"}
    assert item.ports == (EndpointPort("http", "TCP", 8080),)
    assert item.endpoints == (
        Endpoint(
            ("10.3.1.44",),
            Conditions(ready=True),
            hostname="web-0",
            node_name="worker-1",
            zone="a",
            hints=Hints(("a",)),
        ),
        Endpoint(("10.3.1.45",), Conditions(ready=False, serving=True, terminating=True)),
    )


def test_slices_of_a_mesh_are_not_exported_again() -> None:
    export = build()
    export.services(ObjectDelta(WEB))
    mirrored = o.endpoint_slice("x", o.backend("10.4.1.1"), labels={MANAGED_BY: MESH_CONTROLLER})
    assert export.slices(ObjectDelta({"shop/x": mirrored})).changes == {}


def test_slices_leave_and_come_back_with_their_namespace_and_with_their_service() -> None:
    export = build()
    export.slices(ObjectDelta({"shop/x": o.endpoint_slice("x", o.backend("10.3.1.44"))}))
    assert export.pairs() == {}
    (value,) = export.services(ObjectDelta(WEB)).changes.values()
    assert value is not None
    left = export.namespaces(ObjectDelta({"shop": o.namespace("shop", "false")}))
    assert left.changes == {b"shop/x": None}
    assert export.slices(ObjectDelta({"shop/x": o.endpoint_slice("x")})).changes == {}
    back = export.namespaces(ObjectDelta(removes={"shop"}))
    assert back.changes.keys() == {b"shop/x"}
    assert export.services(ObjectDelta(removes={"shop/web"})).changes == {b"shop/x": None}


@pytest.mark.parametrize(("address_type", "refused"), [("FQDN", 0), ("IPv6", 1)])
def test_what_readers_would_refuse_is_not_published(address_type: str, refused: int) -> None:
    export = build()
    export.services(ObjectDelta(WEB))
    body = {**o.slice_body("x", o.backend("10.3.1.44")), "addressType": address_type}
    exported = export.slices(ObjectDelta({"shop/x": o.read(body, EndpointSlice)}))
    assert (exported.changes, len(exported.refused), export.refused()) == ({}, refused, refused)
