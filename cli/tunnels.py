"""Whether two clusters' nodes would take each other's packets, by what their ConfigMaps say (spec 6.2). Pure.

A cluster that says nothing has Cilium's default.
"""

from __future__ import annotations

from cli.check import Check, Finding
from cli.facts import ClusterFacts
from mesh.routingmode import RoutingMode

VXLAN = "vxlan"
PORTS = {VXLAN: "8472", "geneve": "6081"}


def findings(one: ClusterFacts, other: ClusterFacts, labels: str) -> list[Finding]:
    modes = [each.config.get("routing-mode") or RoutingMode.TUNNEL.value for each in (one, other)]
    if modes[0] != modes[1]:
        reason = (
            f"{labels} differ in routing-mode ({modes[0]} and {modes[1]}): neither takes the other's packets"
        )
        return [Finding(Check.ROUTING_MODE_DIFFERS, reason, _mend("routing-mode", other))]
    if modes[0] != RoutingMode.TUNNEL.value:
        return []
    (protocol, port), (their_protocol, their_port) = _tunnel(one), _tunnel(other)
    if protocol != their_protocol:
        reason = f"{labels} differ in tunnel-protocol ({protocol} and {their_protocol})"
        return [Finding(Check.TUNNEL_DIFFERS, reason, _mend("tunnel-protocol", other))]
    if port != their_port:
        reason = f"{labels} differ in tunnel-port ({port} and {their_port})"
        return [Finding(Check.TUNNEL_DIFFERS, reason, _mend("tunnel-port", other))]
    return []


def _tunnel(of: ClusterFacts) -> tuple[str, str]:
    """Protocol and port; 0 is the protocol's own port."""
    protocol = of.config.get("tunnel-protocol") or VXLAN
    port = of.config.get("tunnel-port") or "0"
    return protocol, PORTS.get(protocol, "") if port == "0" else port


def _mend(key: str, other: ClusterFacts) -> str:
    return f"set {key} in ConfigMap cilium-config of {other.target.label} and restart its agents"
