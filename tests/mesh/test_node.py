from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope
from mesh.errors import DecodeError
from mesh.ip import cidr_text, read_ip
from mesh.node import Node, NodeAddress, admit, decode, encode
from tests.mesh import golden

SCOPE = PeerScope(ClusterName("west"), ClusterID(2), IdentityLayout())
NULLABLE = (
    "IPAddresses",
    "IPv4SecondaryAllocCIDRs",
    "IPv6SecondaryAllocCIDRs",
    "Labels",
    "Annotations",
)

addresses = st.ip_addresses().map(str).map(read_ip) | st.just("")
cidrs = st.builds(cidr_text, addresses, st.none() | st.binary(max_size=16)) | st.just("{}")
maps = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)
nodes = st.builds(
    Node,
    name=st.text(min_size=1, max_size=6),
    cluster=st.text(min_size=1, max_size=6),
    cluster_id=st.integers(0, 2**32 - 1).map(ClusterID),
    addresses=st.lists(st.builds(NodeAddress, st.text(max_size=4), addresses), max_size=3).map(tuple),
    ipv4_pod_cidr=st.none() | cidrs,
    ipv4_secondary_pod_cidrs=st.lists(cidrs | st.just(""), max_size=2).map(tuple),
    ipv6_pod_cidr=st.none() | cidrs,
    ipv6_secondary_pod_cidrs=st.lists(cidrs, max_size=2).map(tuple),
    ipv4_health_ip=addresses,
    ipv6_health_ip=addresses,
    ipv4_ingress_ip=addresses,
    ipv6_ingress_ip=addresses,
    source=st.text(max_size=4),
    encryption_key=st.integers(0, 255),
    labels=maps,
    annotations=maps,
    wireguard_pub_key=st.text(max_size=4),
    boot_id=st.text(max_size=4),
    nulls=st.frozensets(st.sampled_from(NULLABLE)),
)


def node(**changes: object) -> Node:
    value = Node(
        name="n1",
        cluster="west",
        cluster_id=ClusterID(2),
        addresses=(
            NodeAddress("Hostname", ""),
            NodeAddress("ExternalIP", "203.0.113.1"),
            NodeAddress("InternalIP", "2001:db8::1"),
            NodeAddress("InternalIP", "192.0.2.1"),
        ),
        ipv4_pod_cidr="10.2.1.0/24",
    )
    return replace(value, **changes)  # type: ignore[arg-type]


@given(nodes)
def test_what_is_written_reads_the_same_and_is_written_the_same(value: Node) -> None:
    suffix, written = encode(value)
    read = decode(suffix, written)
    assert replace(read, nulls=value.nulls) == value
    assert encode(read) == (suffix, written)


@given(nodes)
def test_the_slow_way_reads_what_the_fast_way_reads(value: Node) -> None:
    suffix, written = encode(value)
    tree = {name.lower(): item for name, item in json.loads(written).items()}
    assert decode(suffix, json.dumps(tree).encode()) == decode(suffix, written)


def test_a_new_node_is_written_as_the_field_writes_it() -> None:
    _, written = encode(node(labels={"b": "<", "a": ""}, nulls=Node("", "", ClusterID(0)).nulls))
    assert written == (
        b'{"Name":"n1","Cluster":"west","IPAddresses":[{"Type":"Hostname","IP":""},'
        b'{"Type":"ExternalIP","IP":"203.0.113.1"},{"Type":"InternalIP","IP":"2001:db8::1"},'
        b'{"Type":"InternalIP","IP":"192.0.2.1"}],"IPv4AllocCIDR":{"IP":"10.2.1.0","Mask":"////AA=="},'
        b'"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":null,"IPv6SecondaryAllocCIDRs":null,'
        b'"IPv4HealthIP":"","IPv6HealthIP":"","IPv4IngressIP":"","IPv6IngressIP":"","ClusterID":2,'
        b'"Source":"","EncryptionKey":0,"Labels":{"a":"","b":"\\u003c"},"Annotations":{},'
        b'"WireguardPubKey":"","BootID":""}'
    )


@pytest.mark.parametrize("empty", ["null", "[]"])
def test_an_empty_list_stays_what_it_was(empty: str) -> None:
    value = dict(golden.values("nodes/v1/alpha/"))["worker-1"]
    start = value.index(b'[{"Type"')
    end = value.index(b',"IPv4AllocCIDR"')
    changed = value[:start] + empty.encode() + value[end:]
    assert encode(decode("worker-1", changed)) == ("worker-1", changed)


def cidr_of(text: str) -> str | None:
    value = f'{{"Name":"n","Cluster":"c","IPv4AllocCIDR":{text}}}'
    return decode("n", value.encode()).ipv4_pod_cidr


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ('{"IP":"10.1.0.0","Mask":"////AA=="}', "10.1.0.0/24"),
        ('{"ip":"10.1.0.0","mask":"////AA==","x":1}', "10.1.0.0/24"),
        ('"10.1.0.0/24"', "10.1.0.0/24"),
        ('"10.1.0.7/24"', "10.1.0.0/24"),
        ('"fd00::7/64"', "fd00::/64"),
        ("null", None),
        ("{}", "{}"),
        ('{"IP":""}', "/"),
        ('{"IP":null}', "/"),
        ('{"IP":"10.8.0.0","Mask":"/wD/AA=="}', "10.8.0.0/0xff00ff00"),
        ('{"IP":"10.8.0.0","Mask":null}', "10.8.0.0/"),
    ],
)
def test_cidrs_are_read_in_every_form(said: str, read: str | None) -> None:
    assert cidr_of(said) == read


@pytest.mark.parametrize(
    "said", ['"x"', '""', '"10.0.0.0"', "1", "[]", '{"IP":"x"}', '{"Mask":"A"}', '{"IP":1}']
)
def test_what_is_no_cidr_is_refused(said: str) -> None:
    with pytest.raises(DecodeError):
        cidr_of(said)


@pytest.mark.parametrize(
    ("suffix", "value", "reason"),
    [
        ("n", b'{"Name":"n"}', "cluster is unset"),
        ("n", b'{"Cluster":"c"}', "name is unset"),
        ("m", b'{"Name":"n","Cluster":"c"}', "name does not match key"),
        ("n", b"null", "cluster is unset"),
        ("n", b'{"Name":"n","Cluster":"c","IPv4HealthIP":"x"}', "invalid IP address"),
        ("n", b'{"Name":"n","Cluster":"c","IPAddresses":[{"IP":"1.2.3"}]}', "invalid IP address"),
        ("n", b'{"Name":"n","Cluster":"c","EncryptionKey":256}', "Expected `int` <= 255"),
        ("n", b'{"Name":"n","Cluster":"c","ClusterID":-1}', "Expected `int` >= 0"),
    ],
)
def test_other_values_are_refused(suffix: str, value: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(suffix, value)
    assert caught.value.reason.startswith(reason)


def test_the_internal_address_is_the_one_of_the_family_asked_for() -> None:
    assert node().internal_ip() == "192.0.2.1"
    assert node().internal_ip(6) == "2001:db8::1"
    assert node(addresses=()).internal_ip() is None


def test_pod_cidrs_are_those_of_both_families() -> None:
    value = node(ipv6_pod_cidr="fd00::/64", ipv4_secondary_pod_cidrs=("10.2.9.0/24",))
    assert value.pod_cidrs == ("10.2.1.0/24", "fd00::/64", "10.2.9.0/24")


def test_a_node_of_the_peer_is_admitted() -> None:
    assert admit(node(), SCOPE) == node()


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": "east"},
        {"cluster_id": 1},
        {"ipv4_pod_cidr": "10.2.1.1/24"},
        {"ipv6_pod_cidr": "{}"},
        {"ipv4_secondary_pod_cidrs": ("10.8.0.0/0xff00ff00",)},
        {"ipv6_secondary_pod_cidrs": ("",)},
    ],
)
def test_what_is_not_the_peers_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        admit(node(**changes), SCOPE)
