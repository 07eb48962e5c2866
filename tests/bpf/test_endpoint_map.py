"""Bytes of the endpoint map."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import endpoint_map
from bpf.endpoint_map import Endpoint
from tests.bpf.strategies import ipv4, macs, u16, u32

ENDPOINTS = st.builds(Endpoint, u32, u16, u32, macs, macs, st.booleans(), st.booleans())


@given(ipv4, ENDPOINTS)
def test_an_entry_survives_the_way_to_bytes_and_back(ip: str, endpoint: Endpoint) -> None:
    key, value = endpoint_map.pack_key(ip), endpoint_map.pack_value(endpoint)
    assert (len(key), len(value)) == (20, 48)
    assert endpoint_map.unpack_key(key) == ip
    assert endpoint_map.unpack_value(value) == endpoint


def test_a_mac_lies_in_wire_order() -> None:
    raw = endpoint_map.pack_value(Endpoint(5, 7, 65601, "02:00:00:00:00:2a", "02:00:00:00:00:01"))
    assert raw[16:22] == bytes.fromhex("02000000002a")
    assert raw[24:30] == bytes.fromhex("020000000001")


def test_what_is_no_mac_is_refused() -> None:
    with pytest.raises(ValueError):
        endpoint_map.pack_value(Endpoint(5, 7, 65601, "02:00", "02:00:00:00:00:01"))
    with pytest.raises(ValueError, match="IPv4"):
        endpoint_map.pack_key("fd00::1")
