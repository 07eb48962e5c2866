"""Byte layouts of the maps for IPv6, as `include/maps6.h` declares them; see `layout.py`.

Where a value has no address in it, both families share the layout.
"""

from bpf.layout import Layout

LB6_SERVICE_KEY = Layout(
    "lb6_service_key",
    (
        ("address", "16s"),
        ("dport", "2s"),
        ("backend_slot", "H"),
        ("proto", "B"),
        ("scope", "B"),
        ("pad", "2s"),
    ),
)
LB6_BACKEND_VALUE = Layout(
    "lb6_backend_value",
    (
        ("address", "16s"),
        ("port", "2s"),
        ("proto", "B"),
        ("flags", "B"),
        ("cluster_id", "H"),
        ("zone", "B"),
        ("pad", "B"),
    ),
)
LB6_REVERSE_NAT_VALUE = Layout("lb6_reverse_nat_value", (("address", "16s"), ("port", "2s")))
LB6_REVERSE_SK_KEY = Layout(
    "lb6_reverse_sk_key",
    (("cookie", "Q"), ("address", "16s"), ("port", "2s"), ("pad", "H"), ("pad2", "I")),
)
LB6_REVERSE_SK_VALUE = Layout(
    "lb6_reverse_sk_value", (("address", "16s"), ("port", "2s"), ("rev_nat_index", "2s"))
)
LB6_AFFINITY_KEY = Layout(
    "lb6_affinity_key",
    (
        ("client", "Q"),
        ("client_rest", "Q"),
        ("rev_nat_id", "2s"),
        ("netns_cookie", "B"),
        ("pad1", "B"),
        ("pad2", "I"),
    ),
)
CT6_KEY = Layout(
    "ct6_key",
    (
        ("daddr", "16s"),
        ("saddr", "16s"),
        ("dport", "2s"),
        ("sport", "2s"),
        ("nexthdr", "B"),
        ("flags", "B"),
    ),
)
FRAG6_KEY = Layout(
    "frag6_key", (("id", "4s"), ("proto", "B"), ("pad", "3s"), ("saddr", "16s"), ("daddr", "16s"))
)
EVENT6 = Layout(
    "event6",
    (
        ("time", "Q"),
        ("peer", "I"),
        ("saddr", "16s"),
        ("daddr", "16s"),
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
