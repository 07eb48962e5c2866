"""What the programs write about connections, in words."""

from bpf import ct_map
from bpf.ct_map import Connection, ConnectionKey
from bpf.layout import CT_KEY, CT_VALUE


def test_a_connection_is_read() -> None:
    key = CT_KEY.pack(bytes([10, 2, 1, 4]), bytes([10, 1, 1, 9]), b"\x00\x50", b"\x9c\x40", 6, 1)
    value = CT_VALUE.pack(b"", 7, 900, 1234, 0b10011, b"", b"", 0, 0, 65601, 0, 0)
    assert ct_map.unpack_key(key) == ConnectionKey("10.1.1.9", 40000, "10.2.1.4", 80, 6, inbound=True)
    assert ct_map.unpack_value(value) == Connection(7, 900, 1234, 65601, closing=True)
