"""An agent's state in words: the layout of `cilium-dbg status`, its mesh part exactly. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from peering import clustertext
from peering.clusterreport import RemoteCluster

COMPONENTS = {
    "kvstore": "KVStore",
    "kubernetes": "Kubernetes",
    "cilium": "Cilium",
    "datapath": "Datapath",
    "policy": "Policy",
    "bpf-maps": "BPF Maps",
    "services": "Services",
    "health-ports": "Health Ports",
    "peer-rules": "Peer Rules",
}
# troubles of who wrote them, of their number, or of another program on the node
_NOT_ITS_OWN = frozenset({"policy", "bpf-maps", "services", "health-ports", "peer-rules"})
_FINE = frozenset({"Ok", "Disabled"})
_WIDTH = 25


def brief(status: Mapping[str, Any]) -> str:
    """`OK`, or the first component that is not well. What has no room makes the datapath ill."""
    for component in COMPONENTS:
        found = status.get(component)
        if component not in _NOT_ITS_OWN and found and found.get("state") not in _FINE:
            return f"error in {component}: {found.get('msg', '')}"
    return "OK"


def full(
    status: Mapping[str, Any],
    peers: Sequence[RemoteCluster],
    *,
    all_clusters: bool,
    all_nodes: bool = False,
    all_addresses: bool = False,
) -> str:
    """Without `all_clusters` only peers that are not ready get their details, without `all_nodes` only
    nodes that are not reachable. `all_addresses`: of pods, and whose."""
    lines = []
    for component, title in COMPONENTS.items():
        if found := status.get(component):
            lines.append(_line(title, f"{found.get('state', ''):<8} {found.get('msg', '')}"))
    if cluster := status.get("cluster"):
        lines.append(_line("Cluster", f"{cluster.get('name', '')}   {cluster.get('self', '')}"))
    if ipam := status.get("ipam"):
        lines.append(_line("IPAM", str(ipam.get("status", ""))))
        if all_addresses:
            owners = ipam.get("allocations") or {}
            lines += ["Allocated addresses:", *(f"  {ip} ({owners[ip]})" for ip in _sorted(owners))]
    if routes := status.get("routes"):
        lines += _routes(routes)
    lines += clustertext.lines(_line("ClusterMesh", ""), peers, all_clusters=all_clusters)
    if health := status.get("node-health"):
        lines += _nodes(health, all_nodes=all_nodes)
    if gone := (status.get("backend-health") or {}).get("withdrawn"):
        lines.append(_line("Backends", f"{len(gone)} withdrawn by their own silence"))
        lines += [f"   {ip}: {why}" for ip, why in gone.items()]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _nodes(health: Mapping[str, Any], *, all_nodes: bool) -> list[str]:
    """Nodes behind remote backends, as the probes of this one see them."""
    nodes = health.get("nodes") or []
    text = f"{health.get('reachable', 0)}/{len(nodes)} nodes of peers reachable"
    if endpoints := health.get("health-endpoints"):  # an agent of an older version knows none
        text += f", {health['health-endpoints-reachable']}/{endpoints} health endpoints"
    lines = [_line("Node health", text)]
    for node in nodes:
        endpoints = [
            each for key in ("health-endpoint", "health-endpoint-ipv6") if (each := node.get(key)) is not None
        ]
        if all_nodes or any(probed["state"] != "reachable" for probed in (node, *endpoints)):
            said = f"   {node['name'] or node['cluster'] or '?'} {_probed(node)}"
            said += "".join(f", endpoint {_probed(each)}" for each in endpoints)
            lines.append(said + (f", withdrawn: {node['withdrawn']}" if node["withdrawn"] else ""))
    return lines


def _probed(probed: Mapping[str, Any]) -> str:
    trip = f", {probed['milliseconds']:g} ms" if probed["state"] == "reachable" else ""
    return f"{probed['address']}: {probed['state']}{trip}"


def _routes(routes: Mapping[str, Any]) -> list[str]:
    """The node's own way to the pods of other nodes, and who gets none."""
    told = [*routes.get("refused", {}).items(), *routes.get("problems", {}).items()]
    lines = [
        _line("Routing", f"{routes.get('mode', '')}, {routes.get('routes', 0)} routes to other nodes' pods")
    ]
    return lines + [f"   {what or 'all'}: {why}" for what, why in sorted(told)]


def _sorted(addresses: Iterable[str]) -> list[str]:
    return sorted(addresses, key=lambda ip: (":" in ip, ip_address(ip)))


def _line(title: str, text: str) -> str:
    return f"{title + ':':<{_WIDTH}}{text}"
