from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID, ClusterName, Identity, IdentityLayout, PeerScope
from mesh.errors import DecodeError
from mesh.ip import read_ip
from mesh.ipcache import IPEntry, NamedPort, admit, decode, encode

SCOPE = PeerScope(ClusterName("west"), ClusterID(2), IdentityLayout())
OWN = Identity(2 << 16)

addresses = st.ip_addresses().map(str).map(read_ip)
entries = st.builds(
    IPEntry,
    ip=addresses | st.just(""),
    mask=st.none() | st.binary(max_size=16),
    identity=st.integers(0, 2**32 - 1).map(Identity),
    host_ip=addresses | st.just(""),
    encrypt_key=st.integers(0, 255),
    namespace=st.text(max_size=5),
    pod_name=st.text(max_size=5),
    service_account=st.text(max_size=5),
    metadata=st.text(max_size=5),
    named_ports=st.lists(
        st.builds(NamedPort, st.text(max_size=5), st.integers(0, 65535), st.text(max_size=3)), max_size=3
    ).map(tuple),
)


def plain(ip: str, host: str) -> bytes:
    """With every field that Cilium always writes."""
    return f'{{"IP":"{ip}","Mask":null,"HostIP":"{host}","ID":6,"Key":0,"Metadata":""}}'.encode()


def entry(ip: str = "10.2.0.4", mask: bytes | None = None, identity: int = OWN) -> IPEntry:
    return IPEntry(ip=ip, mask=mask, identity=Identity(identity), host_ip="192.0.2.1")


@given(entries)
def test_what_is_written_reads_the_same(value: IPEntry) -> None:
    suffix, written = encode(value)
    assert decode(suffix, written) == value


@given(entries)
def test_the_slow_way_reads_what_the_fast_way_reads(value: IPEntry) -> None:
    suffix, written = encode(value)
    tree = {name.upper(): item for name, item in json.loads(written).items()}
    assert decode(suffix, json.dumps(tree).encode()) == value


def test_a_full_entry_is_written_as_the_field_writes_it() -> None:
    value = IPEntry(
        ip="10.3.1.44",
        mask=None,
        identity=Identity(196871),
        host_ip="192.0.2.11",
        namespace="shop",
        pod_name="web-0",
        service_account="web",
        named_ports=(NamedPort("http", 8080, "TCP"),),
    )
    assert encode(value) == (
        "10.3.1.44",
        b'{"IP":"10.3.1.44","Mask":null,"HostIP":"192.0.2.11","ID":196871,"Key":0,"Metadata":"",'
        b'"K8sNamespace":"shop","K8sPodName":"web-0","K8sServiceAccount":"web",'
        b'"NamedPorts":[{"Name":"http","Port":8080,"Protocol":"TCP"}]}',
    )


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("10.0.0.1", b'{"IP":"10.0.0.1"}'),
        ("10.0.0.1", b'{"ip":"::ffff:10.0.0.1","mask":null,"hostip":null}'),
        ("fd00::1", b'{"IP":"FD00:0::1","HostIP":"FD00:0::2"}'),
        ("10.0.0.0/8", b'{"IP":"10.0.0.0","Mask":"/wAAAA=="}'),
        ("10.0.0.0/8", b'{"IP":"10.0.0.0","Mask":"/wAA\\nAA=="}'),
        ("10.0.0.1/0", b'{"IP":"10.0.0.1","Mask":""}'),
        ("<nil>", b"{}"),
        ("<nil>", b"null"),
        ("10.0.0.1", b'{"IP":"10.0.0.1","Future":{"a":[1]},"NamedPorts":null}'),
    ],
)
def test_what_go_reads_is_read(suffix: str, value: bytes) -> None:
    assert encode(decode(suffix, value))[0] == suffix


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("10.0.0.1", b'{"IP":"10.0.0.2"}'),
        ("10.0.0.1", plain("10.0.0.2", "")),
        ("10.0.0.1", plain("10.0.0.1", "node-1")),
        ("10.0.0.1", plain("10.0.0.1", "192.0.2.01")),
        ("FD00::1", plain("FD00::1", "")),
        ("10.0.0.1", b'{"IP":"10.0.0.1","Mask":"/////w=="}'),
        ("10.0.0.1/32", b'{"IP":"10.0.0.1"}'),
        ("10.0.0.01", b'{"IP":"10.0.0.01"}'),
        ("fe80::1%eth0", b'{"IP":"fe80::1%eth0"}'),
        ("", b'{"IP":""}'),
        ("10.0.0.1", b'{"IP":"10.0.0.1","HostIP":"node-1"}'),
        ("10.0.0.1", b'{"IP":"10.0.0.1","Key":256}'),
        ("10.0.0.1", b'{"IP":"10.0.0.1","ID":4294967296}'),
        ("10.0.0.1", b'{"IP":"10.0.0.1","ID":"1"}'),
        ("10.0.0.1", b'{"IP":"10.0.0.1","NamedPorts":[{"Port":65536}]}'),
        ("10.0.0.1/8", b'{"IP":"10.0.0.1","Mask":[255,0,0,0]}'),
        ("10.0.0.1/8", b'{"IP":"10.0.0.1","Mask":"/w"}'),
        ("10.0.0.1", b'{"IP":1}'),
        ("10.0.0.1", b'{"IP":"10.0.0.1"} x'),
    ],
)
def test_other_values_are_refused(suffix: str, value: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(suffix, value)
    assert caught.value.reason


@pytest.mark.parametrize(
    ("host", "text"), [("FD00:0::2", "fd00::2"), ("::ffff:192.0.2.1", "192.0.2.1"), ("", "")]
)
def test_a_nodes_address_is_kept_in_canonical_text(host: str, text: str) -> None:
    assert decode("10.0.0.1", plain("10.0.0.1", host)).host_ip == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (entry(), "10.2.0.4/32"),
        (entry("fd00::1"), "fd00::1/128"),
        (entry("10.2.0.0", b"\xff\xff\0\0"), "10.2.0.0/16"),
        (entry("0.0.0.0", b"\0\0\0\0"), "0.0.0.0/0"),
    ],
)
def test_the_kernels_map_is_keyed_by_the_prefix(value: IPEntry, text: str) -> None:
    assert value.prefix_text == text


@pytest.mark.parametrize("identity", [OWN, OWN + 65535, 4, 6, 7, 8])
def test_a_peer_may_use_its_identities_and_what_nodes_have(identity: int) -> None:
    value = entry(identity=identity)
    assert admit(value, SCOPE) is value


def test_a_peers_host_is_a_remote_node_to_us() -> None:
    assert admit(entry(identity=1), SCOPE) == entry(identity=6)


@pytest.mark.parametrize("identity", [0, 2, 3, 5, 9, 10, 11, 100, 128, 255])
def test_other_reserved_identities_may_not_come_from_a_peer(identity: int) -> None:
    with pytest.raises(DecodeError, match=f"reserved identity {identity} "):
        admit(entry(identity=identity), SCOPE)


@given(st.integers(256, 2**32 - 1).filter(lambda number: number >> 16 != 2))
def test_identities_of_others_are_refused(identity: int) -> None:
    with pytest.raises(DecodeError, match="outside the range of cluster west"):
        admit(entry(identity=identity), SCOPE)


@pytest.mark.parametrize(
    ("ip", "mask"),
    [
        ("", None),
        ("10.2.0.0", b"\xff\0\xff\0"),
        ("10.2.0.0", b"\xff" * 16),
        ("fd00::", b"\xff\xff\0\0"),
        ("10.2.0.0", b""),
        ("0.0.0.0", b"\0\0\0\0"),
        ("::", b"\0" * 16),
    ],
)
def test_odd_prefixes_are_refused(ip: str, mask: bytes | None) -> None:
    with pytest.raises(DecodeError):
        admit(entry(ip, mask), SCOPE)


def test_a_prefix_of_its_family_is_admitted() -> None:
    value = entry("10.2.0.0", b"\xff\xff\0\0")
    assert admit(value, SCOPE) is value
