"""cilium_node_map_v2, byte for byte."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import node_map


def test_bytes_are_those_of_ciliums_layout() -> None:
    assert node_map.pack_key("198.18.1.11").hex() == "00000001" + "c612010b" + "00" * 12
    assert node_map.pack_key("fd12::1").hex() == "00000002" + "fd12" + "00" * 13 + "01"
    assert node_map.pack_value(0x1234).hex() == "34120000"


@given(st.ip_addresses().map(str), st.integers(1, 65535))
def test_what_is_packed_is_unpacked(ip: str, number: int) -> None:
    assert ip_address(node_map.unpack_key(node_map.pack_key(ip))) == ip_address(ip)
    assert node_map.unpack_value(node_map.pack_value(number)) == number


def test_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        node_map.pack_key("node-1")
