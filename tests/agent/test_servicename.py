"""In-cluster names without DNS."""

from __future__ import annotations

import pytest

from agent.desired import Clock
from agent.ownslices import Slice
from agent.servicename import addresses
from agent.services import Services
from mesh.localservice import LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.service import Port

ETCD = {"etcd": Port("TCP", 2379)}


def services(*backends: LocalBackend) -> Services:
    found = Services(Clock())  # not started: a name must be known before everything is listed
    ports = (ServicePort("etcd", "TCP", 2379),)
    found.set_local("kube-system/mesh", LocalService("kube-system", "mesh", {}, ("172.20.1.9",), ports))
    found.set_slice("kube-system/mesh-1", Slice("kube-system/mesh", backends))
    return found


@pytest.mark.parametrize("host", ["mesh.kube-system.svc", "mesh.kube-system.svc.cluster.local"])
def test_ready_endpoints_are_dialled(host: str) -> None:
    known = services(
        LocalBackend("10.0.0.2", ETCD),
        LocalBackend("10.0.0.3", ETCD, "terminating"),
        LocalBackend("10.0.0.4", ETCD),
    )
    assert addresses(known, host) == ("10.0.0.2", "10.0.0.4")


def test_a_service_without_ready_endpoints_has_its_cluster_ip() -> None:
    assert addresses(services(), "mesh.kube-system.svc") == ("172.20.1.9",)


@pytest.mark.parametrize("host", ["mesh.other.svc", "west.mesh.cilium.io", "mesh.kube-system", "192.0.2.1"])
def test_other_names_are_left_to_others(host: str) -> None:
    assert addresses(services(LocalBackend("10.0.0.2", ETCD)), host) == ()
