from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import zstdframe
from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope
from mesh.endpointslice import (
    IPV6,
    MAX_FIELDS,
    MAX_MESSAGE_BYTES,
    ClusterEndpointSlice,
    admit,
    decode,
    encode,
    message,
    unpack,
)
from mesh.errors import DecodeError
from mesh.gojson import MAX_VALUE_BYTES
from mesh.sliceendpoint import Conditions, Endpoint, EndpointPort, Hints

SCOPE = PeerScope(ClusterName("west"), ClusterID(255), IdentityLayout())
KEY = "shop/web-x7k"
SLICE = ClusterEndpointSlice(
    cluster="west",
    cluster_id=ClusterID(255),
    namespace="shop",
    name="web-x7k",
    labels={"kubernetes.io/service-name": "web", "app": "web"},
    annotations={"a": ""},
    endpoints=(
        Endpoint(
            ("10.2.0.4",),
            Conditions(ready=True, serving=True, terminating=False),
            node_name="node-1",
            zone="z-a",
            hints=Hints(("z-a", "z-b")),
        ),
        Endpoint(("10.2.0.5", "10.2.0.6"), hostname="web-0", deprecated_topology={"rack": "7"}),
    ),
    ports=(EndpointPort("http", "TCP", 8080, "kubernetes.io/h2c"), EndpointPort(port=53), EndpointPort("")),
)
# the same message, field by field, as Go's generated code lays it out
BYTES = bytes.fromhex(
    "0a04" + b"west".hex() + "10ff01" + "1a04" + b"shop".hex() + "2207" + b"web-x7k".hex()
    + "2a0a" + "0a03" + b"app".hex() + "1203" + b"web".hex()
    + "2a21" + "0a1a" + b"kubernetes.io/service-name".hex() + "1203" + b"web".hex()
    + "3205" + "0a01" + b"a".hex() + "1200"
    + "3a04" + b"IPv4".hex()
    + "422f" + "0a08" + b"10.2.0.4".hex() + "1206" + "080110011800"
    + "3206" + b"node-1".hex() + "3a03" + b"z-a".hex()
    + "420e" + "0a05" + "0a03" + b"z-a".hex() + "0a05" + "0a03" + b"z-b".hex()
    + "4228" + "0a08" + b"10.2.0.5".hex() + "0a08" + b"10.2.0.6".hex() + "1200"
    + "1a05" + b"web-0".hex() + "2a09" + "0a04" + b"rack".hex() + "1201" + b"7".hex()
    + "4a21" + "0a04" + b"http".hex() + "1203" + b"TCP".hex() + "18903f"
    + "2211" + b"kubernetes.io/h2c".hex()
    + "4a02" + "1835"
    + "4a02" + "0a00"
)  # fmt: skip

texts = st.text(max_size=5)
some_text = st.none() | texts
flags = st.none() | st.booleans()
maps = st.dictionaries(texts, texts, max_size=3)
names = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=5)


def endpoints(addresses: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[Endpoint, ...]]:
    one = st.builds(
        Endpoint,
        addresses=st.lists(addresses, max_size=2).map(tuple),
        conditions=st.builds(Conditions, flags, flags, flags),
        hostname=some_text,
        deprecated_topology=maps,
        node_name=some_text,
        zone=some_text,
        hints=st.none() | st.builds(Hints, st.lists(texts, max_size=2).map(tuple)),
    )
    return st.lists(one, max_size=3).map(tuple)


def slices(version: Literal[4, 6]) -> st.SearchStrategy[ClusterEndpointSlice]:
    return st.builds(
        ClusterEndpointSlice,
        cluster=names,
        cluster_id=st.integers(0, 2**32 - 1).map(ClusterID),
        namespace=names,
        name=names,
        labels=maps,
        annotations=maps,
        address_type=st.just(f"IPv{version}"),
        endpoints=endpoints(st.ip_addresses(v=version).map(str)),
        ports=st.lists(
            st.builds(
                EndpointPort, some_text, some_text, st.none() | st.integers(-(2**31), 2**31 - 1), some_text
            ),
            max_size=2,
        ).map(tuple),
    )


def packed(content: bytes) -> bytes:
    return zstdframe.compress(content)


@given(slices(4) | slices(6))
def test_what_is_written_reads_the_same(value: ClusterEndpointSlice) -> None:
    suffix, written = encode(value)
    assert decode(suffix, written) == value
    assert encode(decode(suffix, written)) == (suffix, written)


def test_the_message_is_the_one_that_go_writes() -> None:
    assert message(SLICE) == BYTES
    assert decode(KEY, packed(BYTES)) == SLICE


def test_the_order_of_fields_and_maps_does_not_matter_on_read() -> None:
    end = BYTES.index(b"\x2a\x0a")
    assert decode(KEY, packed(BYTES[end:] + BYTES[:end])) == SLICE


def test_of_a_field_that_comes_twice_the_last_counts_and_messages_are_merged() -> None:
    first = b"\x42\x10" + b"\x0a\x08" + b"10.2.0.4" + b"\x12\x04\x08\x00\x10\x00"
    again = b"\x42\x14" + b"\x0a\x08" + b"10.2.0.4" + b"\x12\x04\x08\x00\x10\x00" + b"\x12\x02\x08\x01"
    head = BYTES[: BYTES.index(b"\x42\x2f")]
    assert decode(KEY, packed(b"\x0a\x01x" + head + first)).endpoints[0].conditions == Conditions(
        False, False
    )
    assert decode(KEY, packed(head + again)).endpoints[0].conditions == Conditions(True, False)


def test_fields_that_nobody_knows_are_kept() -> None:
    later = b"\x52\x05later" + b"\x58\x07" + b"\xfd\x7f\0\0\0\0"
    endpoint = replace(
        SLICE.endpoints[0],
        conditions=Conditions(True, unknown=b"\x20\x01"),
        hints=Hints(("z",), unknown=b"\x12\x03\x0a\x01n"),
        unknown=later,
    )
    value = replace(SLICE, endpoints=(endpoint,), ports=(EndpointPort("http", unknown=later),), unknown=later)
    suffix, written = encode(value)
    assert decode(suffix, written) == value
    assert unpack(written).endswith(later)


@pytest.mark.parametrize(
    ("address_type", "address"),
    [
        ("IPv4", "10.2.0.4"),
        ("IPv6", "fd00::4"),
        ("IPv6", "fd00:0:0::4"),
        ("IPv6", "::ffff:10.2.0.4"),
        ("IPv6", "::"),
    ],
)
def test_addresses_of_the_right_family_are_taken(address_type: str, address: str) -> None:
    value = replace(SLICE, address_type=address_type, endpoints=(Endpoint((address,)),))
    assert decode(*encode(value)) == value


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"cluster": ""}, "cluster is unset"),
        ({"namespace": ""}, "namespace is unset"),
        ({"name": ""}, "name is unset"),
        ({"name": "other"}, "namespaced name does not match key: got 'shop/other'"),
        ({"address_type": ""}, "address type is invalid"),
        ({"address_type": "FQDN"}, "address type is invalid: 'FQDN'"),
        ({"address_type": "ipv4"}, "address type is invalid"),
        ({"address_type": IPV6}, "invalid IPv6 endpoint address: '10.2.0.4'"),
        *(
            ({"endpoints": (Endpoint((text,)),)}, "invalid IPv4 endpoint address")
            for text in ("", "10.2.0.04", "10.2.0", "fd00::4", "::ffff:10.2.0.4", "10.2.0.4%eth0", "web.shop")
        ),
        *(
            ({"address_type": IPV6, "endpoints": (Endpoint((text,)),)}, "invalid IPv6 endpoint address")
            for text in ("", "fe80::1%eth0", "fd00", "10.2.0.4", "fd00::1::2", "[::1]")
        ),
    ],
)  # fmt: skip
def test_what_cilium_refuses_is_refused(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(KEY, encode(replace(SLICE, **said))[1])
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "cluster is unset"),
        (BYTES, "invalid zstd frame"),
        (packed(BYTES)[:-1], "invalid zstd frame"),
        (packed(BYTES) + b"\0", "invalid zstd frame"),
        (packed(b"{}"), "unexpected end of message"),
        (packed(BYTES + b"\x0c"), "unexpected end of group"),
        (packed(BYTES + b"\x08\x01"), "wrong wire type"),
        (packed(BYTES + b"\x12\x01a"), "wrong wire type"),
        (packed(BYTES + b"\x42\x02\x10\x01"), "wrong wire type"),
        (packed(BYTES + b"\x42\x02\x0a\x01"), "unexpected end of message"),
        (packed(bytes(MAX_MESSAGE_BYTES + 1)), "decompressed size exceeds"),
        (bytes(MAX_VALUE_BYTES + 1), "value of"),
        (packed(b"\x42\x00" * (MAX_FIELDS + 1)), "too many fields"),
    ],
    ids=range(13),
)
def test_what_is_no_slice_is_refused(value: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(KEY, value)
    assert (caught.value.key, caught.value.reason[: len(reason)]) == (KEY, reason)


def test_a_slice_in_several_frames_is_read() -> None:
    assert decode(KEY, packed(BYTES[:40]) + packed(BYTES[40:])) == SLICE


@given(st.binary(max_size=200))
def test_arbitrary_messages_raise_nothing_else(content: bytes) -> None:
    try:
        decode(KEY, packed(content))
    except DecodeError as error:
        assert error.reason


@given(st.integers(0, len(BYTES)), st.integers(0, 8), st.binary(max_size=8))
def test_changed_messages_raise_nothing_else_and_read_the_same_again(
    start: int, length: int, put: bytes
) -> None:
    try:
        value = decode(KEY, packed(BYTES[:start] + put + BYTES[start + length :]))
    except DecodeError as error:
        assert error.reason
        return
    assert decode(*encode(value)) == value


BOMBS: dict[str, Callable[[int], bytes]] = {
    "endpoints": lambda count: b"\x42\x00" * count,
    "unknown": lambda count: (b"\x52\x3c" + bytes(60)) * count,
    "conditions": lambda count: b"\x42\x80\x80\x80\x02" + b"\x12\x00" * (1 << 21),
    "labels": lambda count: b"\x2a\x04\x0a\x02ab" * count,
    "groups": lambda count: b"\x53" * count,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_the_worst_message_takes_bounded_time(bomb: str) -> None:
    value = packed(BOMBS[bomb](MAX_FIELDS))
    started = time.process_time()
    with pytest.raises(DecodeError):
        decode(KEY, value)
    assert time.process_time() - started < 5  # a quadratic reader takes minutes


def test_the_worst_message_takes_bounded_memory() -> None:
    fewer = MAX_FIELDS // 16  # tracing memory is slow
    value = packed(BOMBS["endpoints"](fewer))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode(KEY, value)
        assert tracemalloc.get_traced_memory()[1] * 16 < 256 << 20
    finally:
        tracemalloc.stop()


def test_a_slice_of_the_peer_is_admitted() -> None:
    assert admit(SLICE, SCOPE) == SLICE


@pytest.mark.parametrize("said", [{"cluster": "east"}, {"cluster_id": 1}, {"cluster_id": 0}])
def test_what_is_not_the_peers_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="unexpected cluster"):
        admit(replace(SLICE, **said), SCOPE)
