"""Peers' nodes, looked up by their addresses."""

from __future__ import annotations

from collections.abc import Iterable

from mesh.node import Node


def clusters(nodes: Iterable[Node]) -> dict[str, str]:
    """Addresses, and whose they are."""
    return {ip: node.cluster for node in nodes if (ip := node.internal_ip(4))}


def health_addresses(nodes: Iterable[Node]) -> dict[str, str]:
    """Of those that have one of IPv4, by the nodes' addresses."""
    return {ip: node.ipv4_health_ip for node in nodes if (ip := node.internal_ip(4)) and node.ipv4_health_ip}


def called(nodes: Iterable[Node], address: str) -> str:
    """Cluster and name of the node with this address; "" for none of them."""
    return next((f"{node.cluster}/{node.name}" for node in nodes if address == node.internal_ip(4)), "")
