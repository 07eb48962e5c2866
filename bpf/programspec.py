"""Which programs should be loaded, of which sources, and where they attach. Pure."""

import enum
from dataclasses import dataclass

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
    "include/netdeverror6.h",
    "include/netdev6.h",
    "src/netdev.c",
    "src/tonetdev.c",
)


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


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    name: str
    type: ProgramType
    attach: AttachType

    @property
    def expected_attach(self) -> int | None:
        """What the kernel must be told when loading; None where it does not ask."""
        return self.attach if self.type is not ProgramType.SCHED_CLS else None


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
