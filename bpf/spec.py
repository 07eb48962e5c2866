"""Which maps should be made. Pure.

The C sources say the same; the loader refuses a pin, old or new, that differs
from this file. Changing a map here or there takes a new SCHEMA_VERSION.
"""

import enum
from dataclasses import dataclass

from bpf import layout, layout6, layout_nat
from bpf.layout import Layout

SCHEMA_VERSION = "v1"


class MapType(enum.IntEnum):
    """enum bpf_map_type"""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    RINGBUF = 27


NO_PREALLOC = 1  # BPF_F_NO_PREALLOC: several nodes share a machine, memory is paid when used


@dataclass(frozen=True, slots=True)
class MapSpec:
    name: str
    type: MapType
    key: Layout
    value: Layout
    max_entries: int
    flags: int = NO_PREALLOC


IPCACHE = MapSpec("cilium_ipcache_v2", MapType.LPM_TRIE, layout.IPCACHE_KEY, layout.IPCACHE_VALUE, 512_000)
LB4_SERVICES = MapSpec(
    "cilium_lb4_services_v2", MapType.HASH, layout.LB4_SERVICE_KEY, layout.LB4_SERVICE_VALUE, 65_536
)
LB4_BACKENDS = MapSpec(
    "cilium_lb4_backends_v3", MapType.HASH, layout.LB4_BACKEND_KEY, layout.LB4_BACKEND_VALUE, 65_536
)
LB4_REVERSE_NAT = MapSpec(
    "cilium_lb4_reverse_nat", MapType.HASH, layout.LB4_REVERSE_NAT_KEY, layout.LB4_REVERSE_NAT_VALUE, 65_536
)
LB4_REVERSE_SK = MapSpec(
    "cilium_lb4_reverse_sk",
    MapType.LRU_HASH,
    layout.LB4_REVERSE_SK_KEY,
    layout.LB4_REVERSE_SK_VALUE,
    65_536,
    flags=0,
)
LB4_AFFINITY = MapSpec(
    "cilium_lb4_affinity",
    MapType.LRU_HASH,
    layout.LB4_AFFINITY_KEY,
    layout.LB4_AFFINITY_VALUE,
    65_536,
    flags=0,
)
LB_AFFINITY_MATCH = MapSpec(
    "cilium_lb_affinity_match",
    MapType.HASH,
    layout.LB_AFFINITY_MATCH_KEY,
    layout.LB_AFFINITY_MATCH_VALUE,
    65_536,
)
ENDPOINTS = MapSpec("cilium_lxc", MapType.HASH, layout.ENDPOINT_KEY, layout.ENDPOINT_VALUE, 65_535)
POLICY = MapSpec("cilium_policy", MapType.HASH, layout.POLICY_KEY, layout.POLICY_VALUE, 131_072)
CT4 = MapSpec("cilium_ct4_global", MapType.LRU_HASH, layout.CT_KEY, layout.CT_VALUE, 65_536, flags=0)
FRAGMENTS = MapSpec(
    "cilium_ipv4_frag_datagrams", MapType.LRU_HASH, layout.FRAG_KEY, layout.FRAG_VALUE, 8_192, flags=0
)
LB6_SERVICES = MapSpec(
    "cilium_lb6_services_v2", MapType.HASH, layout6.LB6_SERVICE_KEY, layout.LB4_SERVICE_VALUE, 65_536
)
LB6_BACKENDS = MapSpec(
    "cilium_lb6_backends_v3", MapType.HASH, layout.LB4_BACKEND_KEY, layout6.LB6_BACKEND_VALUE, 65_536
)
LB6_REVERSE_NAT = MapSpec(
    "cilium_lb6_reverse_nat", MapType.HASH, layout.LB4_REVERSE_NAT_KEY, layout6.LB6_REVERSE_NAT_VALUE, 65_536
)
LB6_REVERSE_SK = MapSpec(
    "cilium_lb6_reverse_sk",
    MapType.LRU_HASH,
    layout6.LB6_REVERSE_SK_KEY,
    layout6.LB6_REVERSE_SK_VALUE,
    65_536,
    flags=0,
)
LB6_AFFINITY = MapSpec(
    "cilium_lb6_affinity",
    MapType.LRU_HASH,
    layout6.LB6_AFFINITY_KEY,
    layout.LB4_AFFINITY_VALUE,
    65_536,
    flags=0,
)
CT6 = MapSpec("cilium_ct6_global", MapType.LRU_HASH, layout6.CT6_KEY, layout.CT_VALUE, 65_536, flags=0)
FRAGMENTS6 = MapSpec(
    "cilium_ipv6_frag_datagrams", MapType.LRU_HASH, layout6.FRAG6_KEY, layout.FRAG_VALUE, 8_192, flags=0
)
SNAT4 = MapSpec(
    "cilium_snat_v4_external", MapType.LRU_HASH, layout.CT_KEY, layout_nat.SNAT_VALUE, 65_536, flags=0
)
LB4_SOURCE_RANGE = MapSpec(
    "cilium_lb4_source_range",
    MapType.LPM_TRIE,
    layout_nat.LB4_SOURCE_RANGE_KEY,
    layout_nat.SOURCE_RANGE_VALUE,
    16_384,
)
SNAT6 = MapSpec(
    "cilium_snat_v6_external", MapType.LRU_HASH, layout6.CT6_KEY, layout_nat.SNAT6_VALUE, 65_536, flags=0
)
LB6_SOURCE_RANGE = MapSpec(
    "cilium_lb6_source_range",
    MapType.LPM_TRIE,
    layout_nat.LB6_SOURCE_RANGE_KEY,
    layout_nat.SOURCE_RANGE_VALUE,
    16_384,
)
MAGLEV_TABLES = MapSpec(
    "cilium_maglev_tables",
    MapType.HASH,
    layout_nat.MAGLEV_TABLE_KEY,
    layout_nat.MAGLEV_TABLE_VALUE,
    4_096,
)
MAGLEV_SLOTS = MapSpec(
    "cilium_maglev_slots", MapType.HASH, layout_nat.MAGLEV_SLOTS_KEY, layout_nat.MAGLEV_SLOTS_VALUE, 65_536
)
MAGLEV6_TABLES = MapSpec(
    "cilium_maglev6_tables",
    MapType.HASH,
    layout_nat.MAGLEV_TABLE_KEY,
    layout_nat.MAGLEV_TABLE_VALUE,
    4_096,
)
MAGLEV6_SLOTS = MapSpec(
    "cilium_maglev6_slots", MapType.HASH, layout_nat.MAGLEV_SLOTS_KEY, layout_nat.MAGLEV_SLOTS_VALUE, 65_536
)
NODEPORT_CONFIG = MapSpec(
    "cilium_nodeport_config",
    MapType.ARRAY,
    layout.NODE_CONFIG_KEY,
    layout_nat.NODEPORT_CONFIG_VALUE,
    1,
    flags=0,
)
# Cilium's default is 16,384 entries: too few for two addresses of each node of a large mesh
NODES = MapSpec("cilium_node_map_v2", MapType.HASH, layout.NODE_KEY, layout.NODE_VALUE, 131_072)
HOST_NETNS = MapSpec(
    "cilium_host_netns", MapType.ARRAY, layout.NODE_CONFIG_KEY, layout_nat.HOST_NETNS_VALUE, 1, flags=0
)
NODEPORT6_CONFIG = MapSpec(
    "cilium_nodeport6_config",
    MapType.ARRAY,
    layout.NODE_CONFIG_KEY,
    layout_nat.NODEPORT6_CONFIG_VALUE,
    1,
    flags=0,
)
SCRATCH6 = MapSpec(
    "cilium_scratch6",
    MapType.PERCPU_ARRAY,
    layout.NODE_CONFIG_KEY,
    layout_nat.SCRATCH6_VALUE,
    1,
    flags=0,
)
METRICS = MapSpec("cilium_metrics", MapType.PERCPU_HASH, layout.METRICS_KEY, layout.METRICS_VALUE, 1_024)
NODE_CONFIG = MapSpec(
    "cilium_node_config", MapType.ARRAY, layout.NODE_CONFIG_KEY, layout.NODE_CONFIG_VALUE, 1, flags=0
)
EVENTS = MapSpec("cilium_events", MapType.RINGBUF, layout.NOTHING, layout.NOTHING, 256 * 4096, flags=0)
EVENT_CONFIG = MapSpec(
    "cilium_event_config", MapType.ARRAY, layout.NODE_CONFIG_KEY, layout.EVENT_CONFIG_VALUE, 1, flags=0
)

MAPS = (
    IPCACHE,
    LB4_SERVICES,
    LB4_BACKENDS,
    LB4_REVERSE_NAT,
    LB4_REVERSE_SK,
    LB4_AFFINITY,
    LB_AFFINITY_MATCH,
    ENDPOINTS,
    POLICY,
    CT4,
    FRAGMENTS,
    LB6_SERVICES,
    LB6_BACKENDS,
    LB6_REVERSE_NAT,
    LB6_REVERSE_SK,
    LB6_AFFINITY,
    CT6,
    FRAGMENTS6,
    SNAT4,
    LB4_SOURCE_RANGE,
    MAGLEV_TABLES,
    MAGLEV_SLOTS,
    SNAT6,
    LB6_SOURCE_RANGE,
    MAGLEV6_TABLES,
    MAGLEV6_SLOTS,
    METRICS,
    NODES,
    NODE_CONFIG,
    NODEPORT_CONFIG,
    HOST_NETNS,
    NODEPORT6_CONFIG,
    SCRATCH6,
    EVENTS,
    EVENT_CONFIG,
)
