"""Where a Service of type NodePort or LoadBalancer is served beside its own addresses. Pure.

Two places for each node port (spec 6.1): the node's own address, which clients from outside meet, and
0.0.0.0 or ::, which stand for every node's address and which the node's own clients meet. A policy that keeps
traffic on the node may be for one of the two only.

No process of the node may bind a node port's number (bpf/src/bind.c), unless the service's backends have the
very same one: then they may be processes of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpf.lb_map import (
    FLAG_DELEGATE_IF_LOCAL,
    FLAG_EXTERNAL_LOCAL,
    FLAG_INTERNAL_LOCAL,
    FLAG_NODE_PORT,
    FLAG_ROUTABLE,
    with_algorithm,
)
from mesh.ip import family
from mesh.localservice import Frontend, LocalService

ANY_NODE, ANY_NODE_IPV6 = "0.0.0.0", "::"


def places(service: LocalService, node_ips: Sequence[str]) -> list[LocalService]:
    """The service as it is at each place, with that place's ports. `node_ips`: the node's own addresses."""
    ports = tuple(port._replace(port=port.node_port) for port in service.ports if port.node_port)
    families = service.node_families or {family(ip) for ip in service.cluster_ips}
    if not ports or not families:  # a headless service has none
        return []
    at_node = tuple(ip for ip in node_ips if family(ip) in families)
    anywhere = tuple(ip for ip in (ANY_NODE, ANY_NODE_IPV6) if family(ip) in families)
    outside, inside = service.outside_node_only, service.node_only
    if outside == inside or not at_node:
        return [replace(service, cluster_ips=at_node + anywhere, ports=ports)]
    return [
        replace(service, cluster_ips=at_node, ports=ports, node_only=outside),
        replace(service, cluster_ips=anywhere, ports=ports),
    ]


def flags(service: LocalService, frontend: Frontend) -> int:
    """Of the master entry of one of a service's node ports (lb_map.FLAG_*)."""
    return (
        FLAG_NODE_PORT
        | FLAG_ROUTABLE
        | (FLAG_EXTERNAL_LOCAL if service.outside_node_only else 0)
        | (FLAG_INTERNAL_LOCAL if service.node_only else 0)
        | with_algorithm(service.algorithm)
        | (FLAG_DELEGATE_IF_LOCAL if keeps_number(service, frontend) else 0)
    )


def keeps_number(service: LocalService, frontend: Frontend) -> bool:
    """Whether backends have the very number that clients ask for."""
    return any(
        port.target == frontend.port and port.protocol == frontend.protocol
        for port in service.ports
        if frontend.port in (port.port, port.node_port)
    )
