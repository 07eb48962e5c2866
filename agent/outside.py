"""What a Service is to clients outside of the cluster, at external addresses and load balancers'. Pure.

One entry is for both kinds of clients, unless the two traffic policies differ: then it says so, and another
one is for those outside (lb_map.SCOPE_OUTSIDE).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from agent.nodeports import keeps_number
from bpf.lb_map import (
    FLAG_DELEGATE_IF_LOCAL,
    FLAG_EXTERNAL_IP,
    FLAG_EXTERNAL_LOCAL,
    FLAG_INTERNAL_LOCAL,
    FLAG_LOAD_BALANCER,
    FLAG_ROUTABLE,
    FLAG_SOURCE_RANGES,
    FLAG_SOURCE_RANGES_DENY,
    FLAG_TWO_SCOPES,
    with_algorithm,
)
from mesh.ip import family
from mesh.localservice import Frontend, LocalService


def addresses(service: LocalService) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*service.balancer_ips, *service.external_ips)))


def places(service: LocalService) -> list[LocalService]:
    """The service as clients outside see it, where that differs."""
    met = addresses(service)
    if not met or service.node_only == service.outside_node_only:
        return []
    return [replace(service, cluster_ips=met, node_only=service.outside_node_only, outside=True)]


def flags(service: LocalService, frontend: Frontend, node_ips: Collection[str] = ()) -> int:
    """Of the master entry of one of the service's own addresses (lb_map.FLAG_*)."""
    if frontend.ip not in addresses(service):
        return 0
    balanced = frontend.ip in service.balancer_ips
    kind = FLAG_ROUTABLE | (FLAG_LOAD_BALANCER if balanced else FLAG_EXTERNAL_IP)
    kind |= with_algorithm(service.algorithm)
    if balanced and service.source_ranges:
        kind |= FLAG_SOURCE_RANGES | (FLAG_SOURCE_RANGES_DENY if service.ranges_deny else 0)
    if frontend.ip in node_ips and keeps_number(service, frontend):
        kind |= FLAG_DELEGATE_IF_LOCAL  # a process of this node may be the backend
    if frontend.outside:
        return kind | (FLAG_EXTERNAL_LOCAL if service.outside_node_only else 0)
    kind |= FLAG_INTERNAL_LOCAL if service.node_only else 0
    return kind | (FLAG_TWO_SCOPES if service.node_only != service.outside_node_only else 0)


def ranges(service: LocalService, frontend: Frontend) -> tuple[str, ...]:
    """Networks whose clients the frontend is for, or not for (FLAG_SOURCE_RANGES, _DENY); those of its
    family, as no client of the other one comes to it."""
    if not flags(service, frontend) & FLAG_SOURCE_RANGES:
        return ()
    return tuple(each for each in service.source_ranges if family(each) == family(frontend.ip))
