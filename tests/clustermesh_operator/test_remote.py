"""What one cluster said, and whether that is all: through lost connections and changes of its mind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermesh_operator.remote import RemoteExports, read_kinds
from kvstore.watch import Delta
from mesh import endpointslice, service, serviceexport
from mesh.clusterconfig import ENDPOINTSLICES_ONLY, ClusterConfig
from mesh.endpointslice import ClusterEndpointSlice
from mesh.keys import Kind
from mesh.service import GlobalService, Port
from mesh.serviceexport import ServiceExport
from mesh.sliceendpoint import Endpoint, EndpointPort
from peering.rules import Claims
from tests.agent.values import scope

WEST = scope("west", 2)
NEW = ClusterConfig(id=2, service_exports_enabled=True)
SLICED = ClusterConfig(id=2, service_exports_enabled=True, endpoint_slices_export_mode=ENDPOINTSLICES_ONLY)
SHARE = ServiceExport("west", "shop", "web", "2026-11-23T09:15:02Z", ip_families=("IPv4",))
BACKENDS = GlobalService(
    "west", "shop", "web", backends={"10.2.0.1": {"http": Port("TCP", 80)}}, cluster_id=WEST.cluster_id
)
SLICE = ClusterEndpointSlice(
    cluster="west",
    cluster_id=2,
    namespace="shop",
    name="web-1",
    labels={"kubernetes.io/service-name": "web"},
    address_type="IPv4",
    endpoints=(Endpoint(addresses=("10.2.0.9",)),),
    ports=(EndpointPort("http", "TCP", 80),),
)


def pair(encoded: tuple[str, bytes]) -> Delta:
    return Delta(upserts=[(encoded[0].encode(), encoded[1])])


def begun(config: ClusterConfig = NEW) -> RemoteExports:
    remote = RemoteExports("west", lambda: None)
    begin(remote, config)
    return remote


def begin(remote: RemoteExports, config: ClusterConfig) -> None:
    remote.begin(config, read_kinds(config, endpoint_sync=True))


def told(config: ClusterConfig = NEW) -> RemoteExports:
    remote = begun(config)
    remote.apply(Kind.SERVICEEXPORTS, pair(serviceexport.encode(SHARE)), WEST)
    remote.listed(Kind.SERVICEEXPORTS, WEST.cluster_id)
    if config is NEW:
        remote.apply(Kind.SERVICES, pair(service.encode(BACKENDS)), WEST)
        remote.listed(Kind.SERVICES, WEST.cluster_id)
    return remote


def test_it_is_all_once_every_kind_that_it_has_was_listed() -> None:
    assert not RemoteExports("west", lambda: None).value.is_listed
    remote = begun()
    remote.listed(Kind.SERVICEEXPORTS, WEST.cluster_id)
    assert not remote.value.is_listed
    remote.listed(Kind.SERVICES, WEST.cluster_id)
    assert remote.value.is_listed


def test_a_cluster_that_knows_no_exports_has_none() -> None:
    remote = told()
    old = ClusterConfig(id=2)
    remote.begin(old, read_kinds(old))
    assert remote.value.is_listed
    assert (remote.value.exports, remote.value.services) == ({}, {})


def test_a_new_connection_takes_nothing_back() -> None:
    remote = told()
    begin(remote, NEW)
    assert remote.value.is_listed
    assert remote.value.exports == {"shop/web": SHARE}


def test_services_that_come_as_slices_now_stay_until_the_slices_are_listed() -> None:
    remote = told()
    begin(remote, SLICED)
    assert not remote.value.is_listed
    assert remote.value.services == {"shop/web": BACKENDS}
    remote.apply(Kind.ENDPOINTSLICES, pair(endpointslice.encode(SLICE)), WEST)
    assert remote.value.services == {"shop/web": BACKENDS}
    remote.listed(Kind.ENDPOINTSLICES, WEST.cluster_id)
    assert remote.value.is_listed
    assert remote.value.services["shop/web"].backends == {"10.2.0.9": {"http": Port("TCP", 80)}}
    assert not list(remote.held(Kind.SERVICES))


def test_what_is_refused_leaves_what_was_there() -> None:
    remote = told()
    remote.apply(Kind.SERVICEEXPORTS, Delta(upserts=[(b"shop/web", b"{}")]), WEST)
    assert remote.value.exports == {"shop/web": SHARE}


def test_a_drained_cluster_is_not_known_any_more() -> None:
    remote = told()
    remote.drain()
    assert not remote.value.is_listed
    assert (remote.value.exports, remote.value.services) == ({}, {})


def test_what_a_cluster_may_not_claim_does_not_count_and_comes_back_when_it_may() -> None:
    may = Claims(namespaces=frozenset({"bank"}))
    remote = RemoteExports("west", lambda: None, lambda: may)
    begin(remote, NEW)
    remote.apply(Kind.SERVICEEXPORTS, pair(serviceexport.encode(SHARE)), WEST)
    remote.apply(Kind.SERVICES, pair(service.encode(BACKENDS)), WEST)
    assert (remote.value.exports, remote.value.services) == ({}, {})
    may = Claims(namespaces=frozenset({"shop"}))
    assert (list(remote.value.exports), list(remote.value.services)) == (["shop/web"], ["shop/web"])


@pytest.mark.parametrize("config", [NEW, SLICED])
def test_backends_outside_of_what_a_cluster_may_claim_do_not_count(
    config: ClusterConfig, caplog: pytest.LogCaptureFixture
) -> None:
    may = Claims()
    remote = RemoteExports("west", lambda: None, lambda: may)
    begin(remote, config)
    inside, outside = {"10.2.0.9"}, {"192.0.2.7"}
    if config is NEW:
        ports = {"http": Port("TCP", 80)}
        inside.add("fd00:2::9")  # a slice is of one family
        told = replace(BACKENDS, backends=dict.fromkeys(inside | outside, ports))
        kind, content = Kind.SERVICES, service.encode(told)
    else:
        endpoints = (Endpoint(addresses=(*inside, *outside)),)
        kind, content = Kind.ENDPOINTSLICES, endpointslice.encode(replace(SLICE, endpoints=endpoints))

    def counted() -> set[str]:
        return set(remote.value.services["shop/web"].backends)

    remote.apply(kind, pair(content), WEST)
    remote.listed(kind, WEST.cluster_id)
    assert counted() == inside | outside
    may = Claims(addresses=("10.2.0.0/16", "fd00:2::/64"))
    assert counted() == inside
    may = Claims(addresses=())
    assert counted() == set()
    may = Claims(addresses=("10.2.0.0/16", "fd00::/16"))
    assert counted() == inside
    assert "may claim" not in caplog.text
    remote.drain()
    begin(remote, config)
    remote.apply(kind, pair(content), WEST)
    assert "a backend is not among the addresses that the peer may claim" in caplog.text
    remote.listed(kind, WEST.cluster_id)
    may = Claims()
    assert counted() == inside | outside
