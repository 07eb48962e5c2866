"""Whatever a peer stores, a decoder answers with a value or a DecodeError, and what it read it can write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import (
    clusterconfig,
    endpointslice,
    identity,
    ipcache,
    node,
    service,
    serviceexport,
    zstdframe,
)
from mesh.dump import examine
from mesh.errors import DecodeError, MeshError
from mesh.gojson import MAX_VALUE_BYTES
from mesh.keys import Kind, classify
from tests.mesh import golden, test_endpointslice, test_serviceexport

DECODERS: dict[str, Callable[[str, bytes], Any]] = {
    "cluster-config": clusterconfig.decode,
    "node": node.decode,
    "ip": ipcache.decode,
    "identity": identity.decode,
    "service": service.decode,
    "service export": serviceexport.decode,
    "endpoint slice": endpointslice.decode,
}
CODECS: dict[Kind | None, Any] = {
    Kind.NODES: node,
    Kind.IPS: ipcache,
    Kind.IDENTITIES: identity,
    Kind.SERVICES: service,
    Kind.SERVICEEXPORTS: serviceexport,
    Kind.ENDPOINTSLICES: endpointslice,
}
RECORDED = [(recorded.key, recorded.value) for recorded in golden.everything()]
RECORDED += [
    ("cilium/state/serviceexports/v1/west/shop/web", test_serviceexport.FULL),
    ("cilium/cache/endpointslices/v1/west/shop/web-x7k", zstdframe.compress(test_endpointslice.BYTES)),
] * 10
KEYS = [key for key, _ in RECORDED]
FIELDS = ["IP", "ip", "Mask", "ID", "Key", "HostIP", "Name", "Cluster", "ClusterID", "Labels", "id", "zones"]
FIELDS += [
    "capabilities",
    "cluster",
    "namespace",
    "name",
    "backends",
    "frontends",
    "IPv4AllocCIDR",
    "NamedPorts",
    "ports",
    "Labels",
    "ipFamilies",
    "sessionAffinityConfig",
    "exportCreationTimestamp",
]

texts = st.text(max_size=12) | st.sampled_from(["10.0.0.1", "fd00::1", "////AA==", "\x00", "10.0.0.0/8"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
names = st.sampled_from(FIELDS) | st.text(max_size=4)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


def check(key: str, value: bytes) -> None:
    """Either refused with a reason, or written in a form that reads and writes the same again."""
    classified = classify(key.encode())
    assert classified
    codec = CODECS.get(classified.kind)
    if codec is None:  # a cluster's configuration, or a canary
        examine(key.encode(), value)
        return
    try:
        decoded = codec.decode(classified.suffix, value)
    except DecodeError as error:
        assert error.reason
        return
    try:
        suffix, written = codec.encode(decoded)
    except MeshError:
        assert codec is identity  # a label that no text can say
        return
    assert suffix == classified.suffix
    assert codec.decode(suffix, written) == decoded
    assert codec.encode(decoded) == (suffix, written)


@given(st.sampled_from(KEYS), st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(key: str, value: bytes) -> None:
    check(key, value)


@given(st.sampled_from(KEYS), trees)
def test_arbitrary_json_raises_nothing_else(key: str, tree: Any) -> None:
    check(key, json.dumps(tree).encode())


@given(st.sampled_from(RECORDED), st.data())
def test_recorded_bytes_with_a_change_raise_nothing_else(
    pair: tuple[str, bytes], data: st.DataObject
) -> None:
    key, value = pair
    start = data.draw(st.integers(0, len(value)))
    end = data.draw(st.integers(start, min(len(value), start + 8)))
    check(key, value[:start] + data.draw(st.binary(max_size=8)) + value[end:])


@given(st.sampled_from(RECORDED), st.data())
def test_recorded_objects_with_another_member_raise_nothing_else(
    pair: tuple[str, bytes], data: st.DataObject
) -> None:
    key, value = pair
    if not value.startswith(b"{"):
        return
    tree = json.loads(value)
    tree[data.draw(st.sampled_from([*tree, *FIELDS]))] = data.draw(trees)
    check(key, json.dumps(tree).encode())


@given(st.sampled_from(sorted(DECODERS)), st.text(max_size=20), st.binary(max_size=60) | trees)
def test_arbitrary_keys_raise_nothing_else(kind: str, key: str, value: Any) -> None:
    encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        DECODERS[kind](key, encoded)
    except DecodeError as error:
        assert error.reason


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize(
    "value",
    [
        b"[" * 200_000,
        b'{"x":' * 200_000,
        b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"ID":' + b"9" * 5_000 + b"}",
        b'{"id":-' + b"9" * 5_000 + b"}",
        b'{"ID":1e999999999}',
        b" " * (MAX_VALUE_BYTES + 1) + b"{}",
        b"\xff" * (MAX_VALUE_BYTES + 1),
        b'{"IP":"\\ud800"}',
        b"",
        b"null",
        b"\xef\xbb\xbf{}",
    ],
    ids=range(12),
)
def test_bombs_raise_nothing_else(kind: str, value: bytes) -> None:
    try:
        DECODERS[kind]("65536", value)
    except DecodeError as error:
        assert error.key == "65536"
    else:
        assert kind in ("cluster-config", "identity")  # what needs no field, or is no JSON


@pytest.mark.parametrize("kind", DECODERS)
def test_an_oversized_value_is_refused(kind: str) -> None:
    with pytest.raises(DecodeError, match="exceeds"):
        DECODERS[kind]("65536", b" " * MAX_VALUE_BYTES + b"{}")


def full_size(head: bytes, member: bytes, tail: bytes) -> bytes:
    """As many different members as a value may hold; `%d` is their number."""
    count = (MAX_VALUE_BYTES - len(head) - len(tail)) // (len(member) + 6)
    return head + b",".join(member.replace(b"%d", str(number).encode()) for number in range(count)) + tail


NODE = b'{"Name":"n","Cluster":"e",'
SERVICE = b'{"cluster":"e","namespace":"s","name":"w",'
HUGE = {
    "unknown members": ("nodes/v1/e/n", full_size(NODE, b'"%d":0', b"}")),
    "labels": ("nodes/v1/e/n", full_size(NODE + b'"x":0,"Labels":{', b'"%d":""', b"}}")),
    "one number": ("nodes/v1/e/n", NODE + b'"x":' + b"9" * 1_000_000 + b"}"),
    "one address": ("nodes/v1/e/n", NODE + b'"IPv6HealthIP":"' + b"1:" * 500_000 + b'"}'),
    "one mask": (
        "nodes/v1/e/n",
        NODE + b'"IPv4AllocCIDR":{"IP":"1.1.1.1","Mask":"' + b"/" * 1_000_000 + b'"}}',
    ),
    "null ports": (
        "services/v1/e/s/w",
        full_size(SERVICE + b'"backends":{"1.1.1.1":{', b'"%d":null', b"}}}"),
    ),
    "ports": ("services/v1/e/s/w", full_size(SERVICE + b'"backends":{"1.1.1.1":{', b'"%d":{}', b"}}}")),
    "identity labels": ("identities/v1/id/65536", full_size(b"", b"k8s:%d=;", b"").replace(b",", b"")),
    "escaped": ("nodes/v1/e/n", NODE + b'"BootID":"' + b"<" * 1_000_000 + b'"}'),
}


@pytest.mark.parametrize("name", HUGE)
def test_the_largest_values_are_decoded_and_written_in_time_that_grows_with_them(name: str) -> None:
    key, value = HUGE[name]
    assert 900_000 < len(value) <= MAX_VALUE_BYTES
    started = time.process_time()
    examine(b"cilium/state/" + key.encode(), value)
    assert time.process_time() - started < 5  # what is quadratic takes minutes
