"""Byte layouts of node ports' maps, as `include/natmaps.h` and `src/bind.c` declare them. See layout.py."""

from bpf.layout import Layout

SNAT_VALUE = Layout(
    "snat_value",
    (
        ("created", "Q"),
        ("needs_ct", "Q"),
        ("pad1", "Q"),
        ("pad2", "Q"),
        ("address", "4s"),
        ("port", "2s"),
        ("pad3", "H"),
    ),
)
SNAT6_VALUE = Layout(
    "snat6_value",
    (
        ("created", "Q"),
        ("needs_ct", "Q"),
        ("pad1", "Q"),
        ("pad2", "Q"),
        ("address", "16s"),
        ("port", "2s"),
        ("pad3", "6s"),
    ),
)
LB4_SOURCE_RANGE_KEY = Layout(
    "lb4_source_range_key", (("prefixlen", "I"), ("rev_nat_id", "2s"), ("pad", "H"), ("address", "4s"))
)
LB6_SOURCE_RANGE_KEY = Layout(
    "lb6_source_range_key", (("prefixlen", "I"), ("rev_nat_id", "2s"), ("pad", "H"), ("address", "16s"))
)
SOURCE_RANGE_VALUE = Layout("source_range_value", (("flags", "B"),))
NODEPORT_CONFIG_VALUE = Layout("nodeport_config_value", (("tunnel_source", "4s"), ("device", "I")))
HOST_NETNS_VALUE = Layout("host_netns_value", (("cookie", "Q"),))
NODEPORT6_CONFIG_VALUE = Layout(
    "nodeport6_config_value", (("node_ip", "16s"), ("tunnel_source", "16s"), ("device", "I"))
)
SCRATCH6_VALUE = Layout(
    "scratch6", (("packet", "96s"), ("asked", "38s"), ("pad", "2s"), ("to", "36s"), ("pad2", "4s"))
)
MAGLEV_TABLE_KEY = Layout("maglev_table_key", (("rev_nat_id", "2s"), ("pad", "H")))
MAGLEV_TABLE_VALUE = Layout("maglev_table_value", (("table", "I"), ("size", "I")))
MAGLEV_SLOTS_KEY = Layout("maglev_slots_key", (("table", "I"), ("part", "I")))
MAGLEV_SLOTS_VALUE = Layout("maglev_slots_value", (("backend", "1024s"),))
