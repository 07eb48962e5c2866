"""What the programs write about connections, in words."""

from hypothesis import given

from bpf import address, ct_map
from bpf.ct_map import Connection, ConnectionKey
from bpf.layout import CT_KEY, CT_VALUE
from bpf.layout6 import CT6_KEY
from tests.bpf.strategies import ips


def test_a_connection_is_read() -> None:
    key = CT_KEY.pack(bytes([10, 2, 1, 4]), bytes([10, 1, 1, 9]), b"\x00\x50", b"\x9c\x40", 6, 1)
    value = CT_VALUE.pack(b"", 7, 900, 1234, 0b10011, b"", b"", 0, 0, 65601, 0, 0)
    assert ct_map.unpack_key(key) == ConnectionKey("10.1.1.9", 40000, "10.2.1.4", 80, 6, inbound=True)
    assert ct_map.unpack_value(value) == Connection(7, 900, 1234, 65601, closing=True)


def test_a_connection_of_the_other_family_is_read() -> None:
    far, near = address.pack("fd00:2::4"), address.pack("fd00:1::9")
    key = CT6_KEY.pack(far, near, b"\x00\x50", b"\x9c\x40", 6, 0)
    assert len(key) == 38
    assert ct_map.unpack_key(key) == ConnectionKey("fd00:1::9", 40000, "fd00:2::4", 80, 6, inbound=False)


@given(ips, ips, ips)
def test_a_connection_concerns_its_two_ends(one: str, other: str, third: str) -> None:
    ends = address.pack(one), address.pack(other)
    if len(ends[0]) != len(ends[1]):
        return
    layout = CT_KEY if ":" not in one else CT6_KEY
    key = layout.pack(*ends, b"", b"", 6, 0)
    assert all(ct_map.concerns(key, end) for end in ends)
    if address.family(third) is address.family(one):
        assert ct_map.concerns(key, address.pack(third)) == (third in {one, other})
