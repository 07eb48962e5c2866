"""Byte layouts of every map key and value, as `include/*maps*.h` declare them.

Promises: names, offsets and sizes equal those of the compiled structs; a test
compares each with the BTF of the loaded maps. Integers are in host byte order;
what the kernel side keeps in network order appears here as raw bytes ("4s", "2s").
Says nothing of what the fields mean: that is in the `*_map.py` files.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Layout:
    """A C struct: its name and its fields, each with a `struct` format."""

    name: str
    fields: tuple[tuple[str, str], ...]
    size: int = field(init=False)
    _struct: struct.Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # "=": no padding that we did not write down ourselves
        packed = struct.Struct("=" + "".join(form for _, form in self.fields))
        object.__setattr__(self, "_struct", packed)
        object.__setattr__(self, "size", packed.size)

    @property
    def offsets(self) -> dict[str, tuple[int, int]]:
        """Field -> (offset, size), in bytes."""
        found, offset = {}, 0
        for name, form in self.fields:
            size = struct.calcsize("=" + form)
            found[name] = (offset, size)
            offset += size
        return found

    @property
    def packer(self) -> Callable[..., bytes]:
        """`pack` for loops: one call less for each entry."""
        return self._struct.pack

    def pack(self, *values: int | bytes) -> bytes:
        return self._struct.pack(*values)

    def unpack(self, raw: bytes) -> tuple[Any, ...]:  # int or bytes, as the formats say
        return self._struct.unpack(raw)


IPCACHE_KEY = Layout(
    "ipcache_key",
    (("prefixlen", "I"), ("cluster_id", "H"), ("pad", "B"), ("family", "B"), ("address", "16s")),
)
IPCACHE_VALUE = Layout(
    "ipcache_value",
    (("identity", "I"), ("tunnel", "16s"), ("pad", "H"), ("encrypt_key", "B"), ("flags", "B")),
)
LB4_SERVICE_KEY = Layout(
    "lb4_service_key",
    (
        ("address", "4s"),
        ("dport", "2s"),
        ("backend_slot", "H"),
        ("proto", "B"),
        ("scope", "B"),
        ("pad", "2s"),
    ),
)
LB4_SERVICE_VALUE = Layout(
    "lb4_service_value",
    (
        ("backend_id", "I"),
        ("count", "H"),
        ("rev_nat_index", "2s"),
        ("flags", "B"),
        ("flags2", "B"),
        ("qcount", "H"),
    ),
)
LB4_BACKEND_KEY = Layout("lb4_backend_key", (("id", "I"),))
LB4_BACKEND_VALUE = Layout(
    "lb4_backend_value",
    (
        ("address", "4s"),
        ("port", "2s"),
        ("proto", "B"),
        ("flags", "B"),
        ("cluster_id", "H"),
        ("zone", "B"),
        ("pad", "B"),
    ),
)
LB4_REVERSE_NAT_KEY = Layout("lb4_reverse_nat_key", (("id", "2s"),))
LB4_REVERSE_NAT_VALUE = Layout("lb4_reverse_nat_value", (("address", "4s"), ("port", "2s")))
LB4_REVERSE_SK_KEY = Layout(
    "lb4_reverse_sk_key", (("cookie", "Q"), ("address", "4s"), ("port", "2s"), ("pad", "H"))
)
LB4_REVERSE_SK_VALUE = Layout(
    "lb4_reverse_sk_value", (("address", "4s"), ("port", "2s"), ("rev_nat_index", "2s"))
)
LB4_AFFINITY_KEY = Layout(
    "lb4_affinity_key",
    (("client", "Q"), ("rev_nat_id", "2s"), ("netns_cookie", "B"), ("pad1", "B"), ("pad2", "I")),
)
LB4_AFFINITY_VALUE = Layout("lb4_affinity_value", (("last_used", "Q"), ("backend_id", "I"), ("pad", "I")))
LB_AFFINITY_MATCH_KEY = Layout(
    "lb_affinity_match_key", (("backend_id", "I"), ("rev_nat_id", "2s"), ("pad", "H"))
)
LB_AFFINITY_MATCH_VALUE = Layout("unsigned char", (("pad", "B"),))  # that it is there says everything
ENDPOINT_KEY = Layout(
    "endpoint_key", (("address", "16s"), ("family", "B"), ("key", "B"), ("cluster_id", "H"))
)
ENDPOINT_VALUE = Layout(
    "endpoint_value",
    (
        ("ifindex", "I"),
        ("unused", "H"),
        ("lxc_id", "H"),
        ("flags", "I"),
        ("rt_info", "I"),
        ("mac", "8s"),
        ("node_mac", "8s"),
        ("sec_id", "I"),
        ("parent_ifindex", "I"),
        ("pad", "8s"),
    ),
)
POLICY_KEY = Layout(
    "policy_key",
    (
        ("identity", "I"),
        ("lxc_id", "H"),
        ("dport", "2s"),
        ("proto", "B"),
        ("direction", "B"),
        ("open_bits", "H"),
    ),
)
POLICY_VALUE = Layout("policy_value", (("deny", "B"), ("pad", "7s")))
CT_KEY = Layout(
    "ct_key",
    (
        ("daddr", "4s"),
        ("saddr", "4s"),
        ("dport", "2s"),
        ("sport", "2s"),
        ("nexthdr", "B"),
        ("flags", "B"),
    ),
)
CT_VALUE = Layout(
    "ct_value",
    (
        ("nat_addr", "16s"),
        ("packets", "Q"),
        ("bytes", "Q"),
        ("lifetime", "I"),
        ("flags", "H"),
        ("rev_nat_index", "2s"),
        ("nat_port", "2s"),
        ("tx_flags_seen", "B"),
        ("rx_flags_seen", "B"),
        ("src_sec_id", "I"),
        ("last_tx_report", "I"),
        ("last_rx_report", "I"),
    ),
)
FRAG_KEY = Layout("frag_key", (("daddr", "4s"), ("saddr", "4s"), ("id", "2s"), ("proto", "B"), ("pad", "B")))
FRAG_VALUE = Layout("frag_value", (("sport", "2s"), ("dport", "2s")))
METRICS_KEY = Layout(
    "metrics_key", (("reason", "B"), ("dir", "B"), ("line", "H"), ("file", "B"), ("reserved", "3s"))
)
METRICS_VALUE = Layout("metrics_value", (("count", "Q"), ("bytes", "Q")))
NOTHING = Layout("void", ())  # a ring has neither keys nor values
EVENT = Layout(
    "event",
    (
        ("time", "Q"),
        ("peer", "I"),
        ("saddr", "4s"),
        ("daddr", "4s"),
        ("sport", "2s"),
        ("dport", "2s"),
        ("length", "I"),
        ("lxc_id", "H"),
        ("type", "B"),
        ("reason", "B"),
        ("direction", "B"),
        ("proto", "B"),
        ("tcp_flags", "B"),
        ("pad", "5s"),
    ),
)
EVENT_CONFIG_VALUE = Layout("event_config_value", (("drops", "I"), ("trace_every", "I")))
NODE_KEY = Layout("node_key", (("pad1", "H"), ("pad2", "B"), ("family", "B"), ("address", "16s")))
NODE_VALUE = Layout("node_value", (("node_id", "H"), ("spi", "B"), ("pad", "B")))
NODE_CONFIG_KEY = Layout("int", (("index", "I"),))  # the kernel wants a plain integer for an array
NODE_CONFIG_VALUE = Layout(
    "node_config_value",
    (("node_ip", "4s"), ("vxlan_ifindex", "I"), ("mtu", "I"), ("source_hash", "20s")),
)
