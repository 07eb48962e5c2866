"""Which networks of pods the node's own stack is given a way to, and through which node. Pure.

A route moves traffic of everything on the node, so a claim must not take what belongs to others: networks are
granted in the order of ranks, our own cluster before peers, and one that overlaps what is granted, a node's
address or a network that the node is connected to is refused and named. Removing needs more than absence:
what an earlier life left may be wanted by somebody who has not spoken yet (rule 1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

from agent.desired import Clock
from agent.ipcache import Level, Rank
from mesh.node import Node
from mesh.routingmode import RoutingMode, objection

NO_PODS = tuple(
    map(
        ip_network,
        ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8"),
    )
)
SHORTEST_PREFIX = {4: 8, 6: 32}  # nobody's pods need more than a /8; 0.0.0.0/0 would be a hijack
ON_DEVICE = "device"  # in a gateway's place: the tunnel finds the node by the packet's own address
_Network = IPv4Network | IPv6Network
_Bits = tuple[int, int, int]  # IP version, prefix length and the leading bits


@dataclass(frozen=True, slots=True)
class Plan:
    """`routes`: pod CIDR -> its node's InternalIP of the same family, ON_DEVICE for IPv6 through the tunnel.
    `refused`: "owner CIDR" -> why."""

    routes: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    set: Mapping[str, str]
    remove: Collection[str]


class NodeRoutes:
    """The nodes' claims, with a revision of their own: addresses change a thousand times as often."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._nodes: dict[Rank, Node] = {}

    @property
    def nodes(self) -> Mapping[Rank, Node]:
        return self._nodes

    def claim(self, rank: Rank, node: Node | None) -> None:
        if node is None:
            known = self._nodes.pop(rank, None)
        else:
            known, self._nodes[rank] = self._nodes.get(rank), node
        if known != node:
            self.clock.tick()


def plan(
    nodes: Mapping[Rank, Node],
    own_cidr: str,
    reserved: Iterable[str] = (),
    mode: RoutingMode = RoutingMode.TUNNEL,
    own_cidr6: str = "",
    *,
    native_cidrs: Sequence[str] = (),
) -> Plan:
    """What to route. `own_cidr` is our own node's; `reserved` are networks it reaches without us. Without an
    IPv6 CIDR of our own nothing of IPv6 is routed. `native_cidrs`: with native routing, of a family that is
    among them nothing outside is routed.

    No peer's word about its nodes' addresses can take a way inside our own cluster; among peers a node's
    address counts more than anybody's pod CIDR, as tunnels lead there.
    """
    native = tuple(map(ip_network, native_cidrs)) if mode is RoutingMode.NATIVE else ()
    granted = _Granting(mode, native, ipv6=bool(own_cidr6))
    granted.reserve(own_cidr, *filter(None, (own_cidr6,)), *reserved)
    ranks = sorted(rank for rank in nodes if rank.level is not Level.OWN_NODE)
    own = [nodes[rank] for rank in ranks if rank.level is Level.LOCAL_NODE]
    for group in (own, [nodes[rank] for rank in ranks if rank.level is not Level.LOCAL_NODE]):
        granted.reserve(*(ip for node in group for version in (4, 6) if (ip := node.internal_ip(version))))
        for node in group:
            granted.ask(node)
    return Plan(granted.routes, granted.refused)


def difference(
    wanted: Mapping[str, str],
    held: Mapping[str, str],
    *,
    wanted_before: Collection[str] = (),
    everybody_spoke: bool,
) -> Changes:
    """`held` are routes of ours that the kernel has. What is not wanted goes when we ourselves wanted it
    earlier in this life, or when nobody is left who may want it."""
    missing = {cidr: gateway for cidr, gateway in wanted.items() if held.get(cidr) != gateway}
    unwanted = held.keys() - wanted.keys()
    return Changes(missing, sorted(unwanted if everybody_spoke else unwanted & set(wanted_before)))


class _Granting:
    """Who comes first keeps it."""

    def __init__(self, mode: RoutingMode, native: Sequence[_Network], *, ipv6: bool) -> None:
        self._mode = mode
        self._native = native
        self._ipv6 = ipv6
        self.routes: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._taken = _Taken()

    def reserve(self, *networks: str) -> None:
        for text in networks:
            self._taken.add(ip_network(text))

    def ask(self, node: Node) -> None:
        for cidr in node.pod_cidrs if node.internal_ip(4) else ():
            network = ip_network(cidr, strict=False)
            if network.version == 6 and not self._ipv6:
                continue
            gateway = self._gateway(node, network.version)
            reason = objection(node.annotations, self._mode) or self._objection(network)
            if not gateway:
                reason = reason or "its node tells no IPv6 address that could be the gateway"
            if reason:
                self.refused[f"{node.cluster}/{node.name} {cidr}"] = reason
            else:
                self._taken.add(network)
                self.routes[str(network)] = gateway

    def _gateway(self, node: Node, version: int) -> str:
        if version == 6 and self._mode is RoutingMode.TUNNEL:
            return ON_DEVICE
        return node.internal_ip(version) or ""

    def _objection(self, network: _Network) -> str:
        if network.prefixlen < SHORTEST_PREFIX[network.version]:
            return "it is too large for a node's pods"
        if any(network.version == other.version and network.overlaps(other) for other in NO_PODS):
            return "pods cannot have such addresses"
        native = [each for each in self._native if each.version == network.version]
        if native and not any(_is_inside(network, each) for each in native):
            return f"it is outside ipv{network.version}-native-routing-cidr"
        other = self._taken.overlapping(network)
        return f"it overlaps {other}" if other else ""


class _Taken:
    """Networks; whether another one overlaps any takes one probe for each prefix length."""

    def __init__(self) -> None:
        self._whole: dict[_Bits, _Network] = {}
        self._around: dict[_Bits, _Network] = {}  # every larger network around each

    def add(self, network: _Network) -> None:
        self._whole.setdefault(_bits(network, network.prefixlen), network)
        for length in range(network.prefixlen):
            self._around.setdefault(_bits(network, length), network)

    def overlapping(self, network: _Network) -> _Network | None:
        inside = self._around.get(_bits(network, network.prefixlen))
        if inside is not None:
            return inside
        for length in range(network.prefixlen + 1):
            if (found := self._whole.get(_bits(network, length))) is not None:
                return found
        return None


def _is_inside(inner: _Network, outer: _Network) -> bool:
    """Of one family."""
    length = outer.prefixlen
    return inner.prefixlen >= length and _bits(inner, length) == _bits(outer, length)


def _bits(network: _Network, length: int) -> _Bits:
    return network.version, length, int(network.network_address) >> (network.max_prefixlen - length)
