"""Bytes of the ipcache, as Cilium's v2 map has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import ipcache_map
from bpf.ipcache_map import IPCacheKey, IPCacheValue
from tests.bpf.strategies import ipv4, ipv6, prefixes, u8, u16, u32


@given(prefixes, u16)
def test_a_key_survives_the_way_to_bytes_and_back(prefix: str, cluster: int) -> None:
    packed = ipcache_map.pack_key(prefix, cluster)
    assert len(packed) == 24
    assert ipcache_map.unpack_key(packed) == IPCacheKey(prefix, cluster)


@given(u32, st.none() | ipv4 | ipv6, u8)
def test_a_value_survives_the_way_to_bytes_and_back(identity: int, tunnel: str | None, key: int) -> None:
    packed = ipcache_map.pack_value(identity, tunnel, key)
    assert len(packed) == 24
    value = ipcache_map.unpack_value(packed)
    assert value == IPCacheValue(identity, tunnel, key, value.flags)
    assert bool(value.flags & ipcache_map.FLAG_HAS_TUNNEL) == (tunnel is not None)


def test_a_host_entry_has_the_bytes_of_cilium() -> None:
    assert (
        ipcache_map.pack_key("10.3.1.44").hex() == "40000000" + "0000" + "00" + "01" + "0a03012c" + "00" * 12
    )
    value = ipcache_map.pack_value(196612, "198.18.3.11", 255, ipcache_map.FLAG_SKIP_TUNNEL)
    assert value.hex() == "04000300" + "c612030b" + "00" * 12 + "0000" + "ff" + "03"


def test_an_address_and_its_host_prefix_are_one_key() -> None:
    assert ipcache_map.pack_key("10.3.1.44") == ipcache_map.pack_key("10.3.1.44/32")
    assert ipcache_map.pack_key("fd00::1") == ipcache_map.pack_key("fd00::1/128")


@pytest.mark.parametrize(
    "text", ["", "10.1.0.4/24", "10.1.0/24", "10.1.0.0/33", "10.1.0.4/", "fd00::1/64", "x"]
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ipcache_map.pack_key(text)


def test_a_tunnel_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        ipcache_map.pack_value(7, "node-1")


@given(st.lists(prefixes | ipv4.map(lambda ip: f"{ip}/32") | st.just("2001:db8::/32")))
def test_many_keys_are_packed_as_each_alone(several: list[str]) -> None:
    assert ipcache_map.pack_keys(several) == [ipcache_map.pack_key(one) for one in several]


@given(st.lists(st.builds(IPCacheValue, u32, st.none() | ipv4 | ipv6, u8)))
def test_many_values_are_packed_as_each_alone(several: list[IPCacheValue]) -> None:
    alone = [ipcache_map.pack_value(one.identity, one.tunnel, one.encrypt_key) for one in several]
    assert ipcache_map.pack_values(several) == alone


def test_what_is_no_address_is_refused_among_many() -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        ipcache_map.pack_keys(["10.0.0.1/32", "no address/32"])
