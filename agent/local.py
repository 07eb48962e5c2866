"""Who we are: the cluster and the node that this agent serves. Fixed while the agent runs."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.addressing import PeerScope
from mesh.routingmode import RoutingMode


@dataclass(frozen=True, slots=True)
class LocalNode:
    """`ip` is the address that other nodes send tunnelled packets to. `dual_stack`: pods here may have IPv6
    addresses too. `ip6`: with native routing, the address that other nodes send these pods' packets to; ""
    where the node has none, or needs none. `outside_ip6`: where clients outside meet services of that family
    on this node, whether others are told of it or not; "": nowhere."""

    cluster: PeerScope
    name: str
    ip: str
    routing_mode: RoutingMode = RoutingMode.TUNNEL
    dual_stack: bool = False
    ip6: str = ""
    outside_ip6: str = ""

    @property
    def outside_ips(self) -> tuple[str, ...]:
        """The node's own addresses, where clients outside meet services; at most one of each family."""
        return tuple(filter(None, (self.ip, self.outside_ip6)))
