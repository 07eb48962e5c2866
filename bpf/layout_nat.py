"""Byte layouts of the maps of node ports, as `include/natmaps.h` declares them. See layout.py."""

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
NODEPORT_CONFIG_VALUE = Layout("nodeport_config_value", (("tunnel_source", "4s"), ("pad", "I")))
