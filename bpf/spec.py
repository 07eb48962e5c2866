"""What should be loaded: maps, programs and where they attach. Pure.

The C sources say the same; the loader refuses a pin, old or new, that differs
from this file. Changing a map here or there takes a new SCHEMA_VERSION.
"""

import enum
from dataclasses import dataclass

from bpf import layout, layout6, layout_nat
from bpf.layout import Layout

SCHEMA_VERSION = "v1"

# One translation unit, in this order: Debian's BCC compiles a single text.
SOURCES = (
    "include/maps.h",
    "include/servicemaps.h",
    "include/eventmaps.h",
    "include/maps6.h",
    "include/natmaps.h",
    "include/nodemap.h",
    "include/natmaps6.h",
    "include/metrics.h",
    "include/packet.h",
    "include/packet6.h",
    "include/conntrack.h",
    "include/conntrack6.h",
    "include/policy.h",
    "include/events.h",
    "include/endpoint.h",
    "include/host.h",
    "include/nodeport.h",
    "include/nat.h",
    "include/endpoint6.h",
    "include/events6.h",
    "include/host6.h",
    "include/neighbour.h",
    "include/naterror.h",
    "include/ownprocess.h",
    "include/nat6.h",
    "include/naterror6.h",
    "include/ownprocess6.h",
    "include/container6.h",
    "include/maglev.h",
    "include/nodeport6.h",
    "src/container.c",
    "src/overlay.c",
    "src/host.c",
    "src/sock.c",
    "src/sock6.c",
    "src/bind.c",
    "src/netdeverror.c",
    "include/relay6.h",
    "include/netdev6.h",
    "src/netdev.c",
    "src/tonetdev.c",
)


class MapType(enum.IntEnum):
    """enum bpf_map_type"""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    RINGBUF = 27


class ProgramType(enum.IntEnum):
    """enum bpf_prog_type"""

    SCHED_CLS = 3
    CGROUP_SOCK = 9
    CGROUP_SOCK_ADDR = 18


class AttachType(enum.IntEnum):
    """enum bpf_attach_type"""

    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_INET4_POST_BIND = 12
    CGROUP_INET6_POST_BIND = 13
    CGROUP_UDP4_SENDMSG = 14
    CGROUP_UDP6_SENDMSG = 15
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    TCX_INGRESS = 46
    TCX_EGRESS = 47


NO_PREALLOC = 1  # BPF_F_NO_PREALLOC: several nodes share a machine, memory is paid when used


@dataclass(frozen=True, slots=True)
class MapSpec:
    name: str
    type: MapType
    key: Layout
    value: Layout
    max_entries: int
    flags: int = NO_PREALLOC


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    name: str
    type: ProgramType
    attach: AttachType

    @property
    def expected_attach(self) -> int | None:
        """What the kernel must be told when loading; None where it does not ask."""
        return self.attach if self.type is not ProgramType.SCHED_CLS else None


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

FROM_CONTAINER = ProgramSpec("cil_from_container", ProgramType.SCHED_CLS, AttachType.TCX_INGRESS)
TO_CONTAINER = ProgramSpec("cil_to_container", ProgramType.SCHED_CLS, AttachType.TCX_EGRESS)
FROM_OVERLAY = ProgramSpec("cil_from_overlay", ProgramType.SCHED_CLS, AttachType.TCX_INGRESS)
TO_OVERLAY = ProgramSpec("cil_to_overlay", ProgramType.SCHED_CLS, AttachType.TCX_EGRESS)
FROM_NETDEV = ProgramSpec("cil_from_netdev", ProgramType.SCHED_CLS, AttachType.TCX_INGRESS)
TO_NETDEV = ProgramSpec("cil_to_netdev", ProgramType.SCHED_CLS, AttachType.TCX_EGRESS)
SOCK4_CONNECT = ProgramSpec(
    "cil_sock4_connect", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT
)
SOCK4_SENDMSG = ProgramSpec("cil_sock4_sendmsg", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP4_SENDMSG)
SOCK4_RECVMSG = ProgramSpec("cil_sock4_recvmsg", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP4_RECVMSG)
SOCK4_GETPEERNAME = ProgramSpec(
    "cil_sock4_getpeername", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_GETPEERNAME
)
SOCK6_CONNECT = ProgramSpec(
    "cil_sock6_connect", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_CONNECT
)
SOCK6_SENDMSG = ProgramSpec("cil_sock6_sendmsg", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP6_SENDMSG)
SOCK6_RECVMSG = ProgramSpec("cil_sock6_recvmsg", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_UDP6_RECVMSG)
SOCK6_GETPEERNAME = ProgramSpec(
    "cil_sock6_getpeername", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET6_GETPEERNAME
)
SOCK4_POST_BIND = ProgramSpec(
    "cil_sock4_post_bind", ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET4_POST_BIND
)
SOCK6_POST_BIND = ProgramSpec(
    "cil_sock6_post_bind", ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET6_POST_BIND
)

POD_PROGRAMS = (FROM_CONTAINER, TO_CONTAINER)
OVERLAY_PROGRAMS = (FROM_OVERLAY, TO_OVERLAY)
UNDERLAY_PROGRAMS = (FROM_NETDEV, TO_NETDEV)
SOCKET_PROGRAMS = (
    *(SOCK4_CONNECT, SOCK4_SENDMSG, SOCK4_RECVMSG, SOCK4_GETPEERNAME),
    *(SOCK6_CONNECT, SOCK6_SENDMSG, SOCK6_RECVMSG, SOCK6_GETPEERNAME),
    *(SOCK4_POST_BIND, SOCK6_POST_BIND),
)
PROGRAMS = POD_PROGRAMS + OVERLAY_PROGRAMS + UNDERLAY_PROGRAMS + SOCKET_PROGRAMS
