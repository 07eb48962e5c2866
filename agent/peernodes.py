"""Peers' nodes, looked up by their addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mesh.node import Node


def having(nodes: Iterable[Node], addresses: Collection[str]) -> dict[str, Node]:
    """Those that others reach by one of these addresses."""
    return {ip: node for node in nodes if (ip := node.internal_ip(4)) and ip in addresses}


def called(nodes: Iterable[Node], address: str) -> str:
    """Cluster and name of the node with this address; "" for none of them."""
    return next((f"{node.cluster}/{node.name}" for node in nodes if address == node.internal_ip(4)), "")
