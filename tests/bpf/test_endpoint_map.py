"""Bytes of the endpoint map."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import endpoint_map
from bpf.endpoint_map import Endpoint
from tests.bpf.strategies import ips, macs, u16, u32

ENDPOINTS = st.builds(Endpoint, u32, u16, u32, macs, macs, st.booleans(), st.booleans())


@given(ips, ENDPOINTS)
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
    with pytest.raises(ValueError, match="not an IP address"):
        endpoint_map.pack_key("fd00::1/128")


def test_a_key_says_its_family() -> None:
    assert endpoint_map.pack_key("10.1.0.1").hex() == "0a010001" + "00" * 12 + "01" + "00" + "0000"
    assert endpoint_map.pack_key("fd00::1").hex() == "fd" + "00" * 14 + "01" + "02" + "00" + "0000"
