"""Objects become the exact bytes that Cilium's own exporter writes; what peers would refuse is refused."""

import json

import msgspec
import pytest

from clustermesh_apiserver.convert import Converter, ConvertError
from clustermesh_apiserver.slice import read_slice
from k8s.cilium import CiliumIdentity, CiliumNode
from mesh import node
from tests.clustermesh_apiserver import objects as o

convert = Converter(o.EAST)


def test_a_node_becomes_the_record_of_the_specification() -> None:
    converted = convert.node(o.node())
    assert converted.namespace is None
    assert converted.pairs == {
        b"worker-1": b'{"Name":"worker-1","Cluster":"east",'
        b'"IPAddresses":[{"Type":"InternalIP","IP":"192.0.2.11"},{"Type":"CiliumInternalIP","IP":"10.3.1.213"}],'
        b'"IPv4AllocCIDR":{"IP":"10.3.1.0","Mask":"////AA=="},"IPv4SecondaryAllocCIDRs":null,'
        b'"IPv6AllocCIDR":null,"IPv6SecondaryAllocCIDRs":null,'
        b'"IPv4HealthIP":"10.3.1.7","IPv6HealthIP":"","IPv4IngressIP":"","IPv6IngressIP":"",'
        b'"ClusterID":3,"Source":"custom-resource","EncryptionKey":0,'
        b'"Labels":{"kubernetes.io/hostname":"worker-1"},"Annotations":{},"WireguardPubKey":"","BootID":"5d0c"}'
    }


def test_the_first_pod_cidr_of_a_family_is_primary_and_the_rest_secondary() -> None:
    body = o.node_body()
    body["spec"]["ipam"]["podCIDRs"] = ["fd00:1::/64", "10.3.1.9/24", "10.3.2.0/24", "10.3.3.0/24"]
    (value,) = convert.node(o.read(body, CiliumNode)).pairs.values()
    assert b'"IPv4AllocCIDR":{"IP":"10.3.1.0","Mask":"////AA=="}' in value  # host bits are cleared
    assert value.count(b'"Mask":"////AA=="') == 3
    assert b'"IPv6AllocCIDR":{"IP":"fd00:1::","Mask":"//////////8AAAAAAAAAAA=="}' in value


def test_cidrs_of_allocated_pools_come_after_the_nodes_own() -> None:
    body = o.node_body()
    pools = [
        {"pool": "default", "cidrs": ["10.3.8.0/28", "fd00:8::/64"]},
        {"pool": "blue", "cidrs": ["10.3.9.0/28"]},
    ]
    body["spec"]["ipam"]["pools"] = {"allocated": pools, "requested": [{"pool": "default"}]}
    (value,) = convert.node(o.read(body, CiliumNode)).pairs.values()
    written = node.decode("worker-1", value)
    assert written.ipv4_pod_cidr == "10.3.1.0/24"
    assert written.ipv4_secondary_pod_cidrs == ("10.3.8.0/28", "10.3.9.0/28")
    assert written.ipv6_pod_cidr == "fd00:8::/64"


def test_a_node_with_a_wireguard_annotation_publishes_its_key() -> None:
    body = o.node_body()
    body["metadata"]["annotations"] = {"network.cilium.io/wg-pub-key": "abc="}
    body["spec"]["encryption"] = {"key": 255}
    (value,) = convert.node(o.read(body, CiliumNode)).pairs.values()
    assert b'"WireguardPubKey":"abc="' in value
    assert b'"EncryptionKey":255' in value


def test_a_node_with_an_impossible_pod_cidr_is_refused() -> None:
    body = o.node_body()
    body["spec"]["ipam"]["podCIDRs"] = ["10.3.1.0/240"]
    with pytest.raises(ConvertError, match=r"10\.3\.1\.0/240"):
        convert.node(o.read(body, CiliumNode))


def test_an_identity_becomes_its_labels_sorted_by_key() -> None:
    converted = convert.identity(o.identity())
    assert converted.namespace == "shop"
    assert converted.pairs == {
        b"196871": b"k8s:app=web;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;"
        b"k8s:io.cilium.k8s.policy.cluster=east;k8s:io.cilium.k8s.policy.serviceaccount=web;"
        b"k8s:io.kubernetes.pod.namespace=shop;"
    }


def test_two_sources_of_one_label_key_make_one_label_whatever_their_order() -> None:
    texts = set()
    for sources in (("any", "k8s"), ("k8s", "any")):
        labels = {f"{source}:tier": source for source in sources}
        (value,) = convert.identity(o.identity(196871, **labels)).pairs.values()
        assert value.count(b":tier=") == 1
        texts.add(value)
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (o.identity(65536), "65536"),
        (o.identity(196871, **{o.CLUSTER_LABEL: "west"}), "cluster"),
        (o.identity(196871, **{"k8s:app": "a;k8s:admin=yes"}), ";"),
        (o.read({"metadata": {"name": "web"}, "security-labels": {"k8s:a": "b"}}, CiliumIdentity), "'web'"),
        (o.read({"metadata": {"name": "196871"}}, CiliumIdentity), "no security labels"),
        (
            o.read({"metadata": {"name": "196871"}, "security-labels": {"k8s:a": "b"}}, CiliumIdentity),
            "cluster",
        ),
    ],
)
def test_an_identity_that_peers_would_skip_is_refused(identity: CiliumIdentity, reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        convert.identity(identity)


def test_an_endpoint_becomes_one_record_an_address() -> None:
    converted = convert.endpoint(o.endpoint("web-0", "10.3.1.44", "FD00:1::2C"))
    assert converted.namespace == "shop"
    rest = (
        b'"HostIP":"192.0.2.11","ID":196871,"Key":0,"Metadata":"",'
        b'"K8sNamespace":"shop","K8sPodName":"web-0","K8sServiceAccount":"web"}'
    )
    assert converted.pairs == {
        b"10.3.1.44": b'{"IP":"10.3.1.44","Mask":null,' + rest,
        b"fd00:1::2c": b'{"IP":"fd00:1::2c","Mask":null,' + rest,
    }


def test_an_endpoint_with_a_reserved_identity_keeps_its_number() -> None:
    (value,) = convert.endpoint(o.endpoint("health", "10.3.1.7", identity=4)).pairs.values()
    assert b'"ID":4,' in value


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"identity": 65537}, "65537"), ({"identity": 0}, "no identity"), ({"node": "here"}, "here")],
)
def test_an_endpoint_that_peers_would_skip_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        convert.endpoint(o.endpoint("web-0", **fields))


def test_an_endpoint_without_addresses_has_no_records() -> None:
    body = o.endpoint_body()
    body["status"]["networking"]["addressing"] = []
    assert convert.endpoint(o.read(body, type(o.endpoint()))).pairs == {}


def test_a_service_becomes_the_record_of_the_specification() -> None:
    hints = {"forZones": [{"name": "z-a"}]}
    first = read_slice(o.endpoint_slice("web-1", o.backend("10.3.1.44", zone="z-a", hints=hints)))
    second = read_slice(o.endpoint_slice("web-2", o.backend("10.3.2.9")))
    assert convert.service(o.service(), [first, second]) == (
        b"shop/web",
        b'{"cluster":"east","namespace":"shop","name":"web",'
        b'"frontends":{"172.20.9.14":{"http":{"Protocol":"TCP","Port":80}}},'
        b'"backends":{"10.3.1.44":{"http":{"Protocol":"TCP","Port":8080}},'
        b'"10.3.2.9":{"http":{"Protocol":"TCP","Port":8080}}},'
        b'"zones":{"10.3.1.44":{"zone":"z-a","forZones":[{"name":"z-a"}]}},'
        b'"labels":{"app":"web"},"selector":{"app":"web"},'
        b'"includeExternal":true,"shared":true,"clusterID":3}',
    )


def test_a_zone_without_hints_says_null_as_cilium_does() -> None:
    item = read_slice(o.endpoint_slice("web-1", o.backend("10.3.1.44", zone="z-a")))
    _, value = convert.service(o.service(), [item])
    assert b'"zones":{"10.3.1.44":{"zone":"z-a","forZones":null}}' in value


def test_a_headless_service_has_no_frontends_and_names_its_hosts() -> None:
    item = read_slice(o.endpoint_slice("db-1", o.backend("10.3.1.5", hostname="db-0"), service="db"))
    body = o.service_body("db", clusterIP="None", clusterIPs=["None"])
    _, value = convert.service(o.read(body, type(o.service())), [item])
    decoded = msgspec.json.decode(value)
    assert decoded["frontends"] == {}
    assert decoded["hostnames"] == {"10.3.1.5": "db-0"}


@pytest.mark.parametrize(
    ("annotations", "is_exported"),
    [
        ({}, False),
        ({"service.cilium.io/global": "TRUE"}, True),
        ({"service.cilium.io/global": "1"}, False),
        ({"io.cilium/global-service": "true"}, True),
        ({"service.cilium.io/global": "false", "io.cilium/global-service": "true"}, False),
        ({"service.cilium.io/global": "true", "service.cilium.io/shared": "yes"}, False),
        ({"service.cilium.io/global": "true", "service.cilium.io/shared": "True"}, True),
        ({"service.cilium.io/global": "true", "io.cilium/shared-service": "false"}, False),
        ({"service.cilium.io/shared": "true"}, False),
    ],
)
def test_annotations_decide_what_is_exported(annotations: dict[str, str], is_exported: bool) -> None:
    assert convert.is_exported(o.service(annotations=annotations)) is is_exported


def test_an_external_name_has_neither_frontends_nor_backends() -> None:
    service = o.service(type="ExternalName", clusterIP="", clusterIPs=[], externalName="db.example.org")
    key, value = Converter(o.EAST).service(service, [])
    record = json.loads(value)
    assert (key, record["frontends"], record["backends"]) == (b"shop/web", {}, {})


def test_only_cluster_addresses_are_frontends() -> None:
    service = o.service(
        clusterIPs=["172.20.9.14", "FD00::0014"],
        externalIPs=["203.0.113.7"],
        ports=[
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "dns", "protocol": "UDP", "port": 53},
        ],
    )
    ports = {"http": {"Protocol": "TCP", "Port": 80}, "dns": {"Protocol": "UDP", "Port": 53}}
    _, value = Converter(o.EAST).service(service, [])
    assert json.loads(value)["frontends"] == {"172.20.9.14": ports, "fd00::14": ports}
