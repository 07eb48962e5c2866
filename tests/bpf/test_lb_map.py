"""Bytes of the service maps, as Cilium has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import address, lb_map
from bpf.lb_map import BackendValue, ServiceKey, ServiceValue
from tests.bpf.strategies import ips, ports, protocols, u8, u16, u32


@given(ips, ports, protocols, u16)
def test_a_service_key_survives_the_way_to_bytes_and_back(ip: str, port: int, name: str, slot: int) -> None:
    packed = lb_map.pack_service(ip, port, name, slot)
    assert len(packed) == (24 if ":" in ip else 12)
    assert lb_map.unpack_service(packed) == ServiceKey(ip, port, name, slot)
    assert lb_map.with_slot(lb_map.pack_service(ip, port, name), slot) == packed
    assert lb_map.with_scope(packed, 7) == lb_map.pack_service(ip, port, name, 0, 7)
    assert lb_map.scope_of(lb_map.with_scope(packed, 7)) == 7


@given(u32, u16, u16, u16)
def test_a_service_value_survives_the_way_to_bytes_and_back(
    backend: int, count: int, rev_nat: int, flags: int
) -> None:
    flags &= ~lb_map.FLAG_SESSION_AFFINITY
    packed = lb_map.pack_service_value(backend, count, rev_nat, flags)
    assert len(packed) == 12
    assert lb_map.unpack_service_value(packed) == ServiceValue(backend, count, rev_nat, flags)


@given(ips, ports, protocols, u16, u8)
def test_a_backend_survives_the_way_to_bytes_and_back(
    ip: str, port: int, name: str, cluster: int, state: int
) -> None:
    packed = lb_map.pack_backend(ip, port, name, cluster, state)
    assert len(packed) == (24 if ":" in ip else 12)
    assert lb_map.backend_family(packed) is address.family(ip)
    assert lb_map.unpack_backend(packed) == BackendValue(ip, port, name, cluster, state)


@given(u32, u16, ips, ports)
def test_ids_and_frontends_survive_the_way_to_bytes_and_back(
    backend: int, rev_nat: int, ip: str, port: int
) -> None:
    assert lb_map.unpack_backend_id(lb_map.pack_backend_id(backend)) == backend
    assert lb_map.unpack_rev_nat_id(lb_map.pack_rev_nat_id(rev_nat)) == rev_nat
    assert lb_map.unpack_rev_nat(lb_map.pack_rev_nat(ip, port)) == (ip, port)


def test_the_bytes_are_those_of_cilium() -> None:
    assert (
        lb_map.pack_service("172.20.1.9", 80, "tcp", 2).hex()
        == "ac140109" + "0050" + "0200" + "06" + "000000"
    )
    assert (
        lb_map.pack_service_value(0, 3, 5, 0x1040).hex()
        == "00000000" + "0300" + "0005" + "40" + "10" + "0000"
    )
    assert (
        lb_map.pack_master(3, 5, sticky=10_800).hex() == "302a0000" + "0300" + "0005" + "10" + "00" + "0000"
    )
    assert (
        lb_map.pack_backend("10.2.1.4", 8080, "UDP", 2).hex()
        == "0a020104" + "1f90" + "11" + "00" + "0200" + "0000"
    )
    assert lb_map.pack_rev_nat_id(5).hex() == "0005"
    assert lb_map.pack_rev_nat("172.20.1.9", 80).hex() == "ac140109" + "0050"


def test_the_bytes_are_those_of_cilium_in_the_other_family_too() -> None:
    ip, packed = "fd00:20::9", "fd000020" + "00" * 11 + "09"
    assert lb_map.pack_service(ip, 80, "tcp", 2).hex() == packed + "0050" + "0200" + "06" + "000000"
    assert lb_map.pack_backend(ip, 8080, "UDP", 2).hex() == packed + "1f90" + "11" + "00" + "0200" + "0000"
    assert lb_map.pack_rev_nat(ip, 80).hex() == packed + "0050"


def test_what_the_maps_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        lb_map.pack_service("fd00::1%eth0", 80, "TCP")
    with pytest.raises(ValueError, match="no such protocol"):
        lb_map.pack_service("10.0.0.1", 80, "QUIC")
    with pytest.raises(ValueError, match="16 bits"):
        lb_map.pack_backend("10.0.0.1", 65536, "TCP")


@given(u16, u16, st.integers(0, lb_map.MAX_STICKY))
def test_a_master_says_how_long_a_client_keeps_its_backend(count: int, rev_nat: int, seconds: int) -> None:
    value = lb_map.unpack_service_value(lb_map.pack_master(count, rev_nat, seconds))
    assert (value.count, value.rev_nat, value.sticky, value.backend_id) == (count, rev_nat, seconds, 0)
    assert bool(value.flags & lb_map.FLAG_SESSION_AFFINITY) == bool(seconds)


@given(u16, st.integers(0, lb_map.MAX_STICKY), st.integers(0, 0xFFFF), st.integers(0, 2))
def test_a_master_says_how_backends_are_chosen_beside_its_flags(
    count: int, seconds: int, flags: int, algorithm: int
) -> None:
    flags &= ~lb_map.FLAG_SESSION_AFFINITY
    raw = lb_map.pack_master(count, 1, seconds, flags | lb_map.with_algorithm(algorithm))
    assert lb_map.master_flags(raw) == flags | lb_map.with_algorithm(algorithm)
    assert lb_map.algorithm_of(lb_map.master_flags(raw)) == algorithm
    value = lb_map.unpack_service_value(raw)
    assert (value.sticky, value.count) == (seconds, count)
    assert value.flags == flags | (lb_map.FLAG_SESSION_AFFINITY if seconds else 0)
    assert lb_map.pack_master(3, 5, 10_800, lb_map.with_algorithm(2)).hex() == "302a0002" + "0300000510000000"


def test_a_time_out_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="16777216 seconds"):
        lb_map.pack_master(1, 1, lb_map.MAX_STICKY + 1)
