"""EndpointSlices, load-balancer addresses and accounts follow Services, pods and namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.resource import DEPLOYMENT, ENDPOINTSLICE, NAMESPACE, POD, SERVICE, SERVICEACCOUNT
from lab.control.slices import SERVICE_LABEL
from tests.lab.worlds import FakeCluster

Body = dict[str, Any]


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.control_node()
    made.node("node-1")
    return made


def service(cluster: FakeCluster, **spec: Any) -> Body:
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web"}]
    return cluster.add(
        SERVICE, {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}
    )


def pod(cluster: FakeCluster, name: str, *, port: int = 8080, ready: bool = True, **spec: Any) -> Body:
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port}]}
    return cluster.add(
        POD,
        {
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "node-1", "containers": [container], **spec},
            "status": {
                "podIP": f"10.1.1.{len(cluster.pods()) + 2}",
                "hostIP": "198.18.1.11",
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        },
    )


def slices(cluster: FakeCluster) -> list[Body]:
    cluster.settle()
    return list(cluster.objects[ENDPOINTSLICE].values())


def test_ready_pods_become_endpoints_with_resolved_ports(cluster: FakeCluster) -> None:
    service(cluster)
    pod(cluster, "a")
    (only,) = slices(cluster)
    assert only["metadata"]["labels"][SERVICE_LABEL] == "web"
    assert only["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    (endpoint,) = only["endpoints"]
    assert (endpoint["addresses"], endpoint["nodeName"]) == (["10.1.1.2"], "node-1")
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["targetRef"]["name"] == "a"


def test_an_unready_and_an_ending_pod_stay_listed_but_get_no_new_traffic(cluster: FakeCluster) -> None:
    service(cluster)
    pod(cluster, "a", ready=False)
    pod(cluster, "b")["metadata"]["deletionTimestamp"] = "now"
    (only,) = slices(cluster)
    conditions = {each["targetRef"]["name"]: each["conditions"] for each in only["endpoints"]}
    assert conditions == {
        "a": {"ready": False, "serving": False, "terminating": False},
        "b": {"ready": False, "serving": True, "terminating": True},
    }


def test_a_slice_keeps_its_name_from_empty_to_full_and_back(cluster: FakeCluster) -> None:
    service(cluster)
    (empty,) = slices(cluster)
    assert empty["endpoints"] == []
    pod(cluster, "a")
    (full,) = slices(cluster)
    cluster.objects[POD].clear()
    (again,) = slices(cluster)
    assert {each["metadata"]["name"] for each in (empty, full, again)} == {full["metadata"]["name"]}
    assert again["endpoints"] == []


def test_pods_with_different_numbers_for_a_named_port_are_in_different_slices(cluster: FakeCluster) -> None:
    service(cluster)
    pod(cluster, "a", port=8080)
    pod(cluster, "b", port=9090)
    found = {each["ports"][0]["port"]: len(each["endpoints"]) for each in slices(cluster)}
    assert found == {8080: 1, 9090: 1}


def test_a_service_of_both_families_has_slices_of_each_with_the_pods_addresses_of_it(
    cluster: FakeCluster,
) -> None:
    service(cluster, ipFamilies=["IPv4", "IPv6"])
    dual, single = pod(cluster, "a"), pod(cluster, "b")
    dual["status"]["podIPs"] = [{"ip": "10.1.1.9"}, {"ip": "fd00:10:1:1::9"}]
    found = {each["addressType"]: each for each in slices(cluster)}
    names = [each["addresses"] for each in found["IPv4"]["endpoints"]]
    assert names == [["10.1.1.9"], [single["status"]["podIP"]]]
    assert [each["addresses"] for each in found["IPv6"]["endpoints"]] == [["fd00:10:1:1::9"]]
    assert found["IPv4"]["ports"] == found["IPv6"]["ports"]
    cluster.objects[SERVICE]["default/web"]["spec"]["ipFamilies"] = ["IPv4"]
    assert [each["metadata"]["name"] for each in slices(cluster)] == [found["IPv4"]["metadata"]["name"]]


@pytest.mark.parametrize("spec", [{"selector": {}}, {"type": "ExternalName"}])
def test_a_service_without_pods_of_its_own_gets_no_slices(cluster: FakeCluster, spec: Body) -> None:
    service(cluster, **spec)
    pod(cluster, "a")
    assert slices(cluster) == []


def test_a_deleted_services_slices_go_and_foreign_ones_stay(cluster: FakeCluster) -> None:
    service(cluster)
    cluster.add(ENDPOINTSLICE, {"metadata": {"name": "byhand"}, "addressType": "IPv4", "endpoints": []})
    assert len(slices(cluster)) == 2
    cluster.objects[SERVICE].clear()
    assert [each["metadata"]["name"] for each in slices(cluster)] == ["byhand"]


def test_a_load_balancers_address_is_its_pods_node_and_outlives_it(cluster: FakeCluster) -> None:
    balancer = service(cluster, type="LoadBalancer")
    assert "status" not in balancer
    pod(cluster, "a", hostNetwork=True)
    cluster.settle()
    expected = {"loadBalancer": {"ingress": [{"ip": "198.18.1.11"}]}}
    assert cluster.objects[SERVICE]["default/web"]["status"] == expected
    cluster.objects[POD].clear()
    cluster.settle()
    assert cluster.objects[SERVICE]["default/web"]["status"] == expected


@pytest.mark.parametrize(("ready", "host_network"), [(False, True), (True, False)])
def test_a_pod_that_does_not_answer_on_its_node_gives_no_address(
    cluster: FakeCluster, ready: bool, host_network: bool
) -> None:
    service(cluster, type="LoadBalancer")
    pod(cluster, "a", ready=ready, hostNetwork=host_network)
    cluster.settle()
    assert "status" not in cluster.objects[SERVICE]["default/web"]


def test_every_namespace_has_a_default_account(cluster: FakeCluster) -> None:
    for name in ("default", "shop"):
        cluster.add(NAMESPACE, {"metadata": {"name": name}})
    cluster.settle()
    assert set(cluster.objects[SERVICEACCOUNT]) == {"default/default", "shop/default"}


def test_controllers_rest_once_all_is_as_wanted(cluster: FakeCluster) -> None:
    service(cluster, type="LoadBalancer")
    cluster.workload(DEPLOYMENT, "web", replicas=3, hostNetwork=True)
    cluster.live()
    assert cluster.round() == []
