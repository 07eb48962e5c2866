"""How packets travel between nodes (Cilium's `routing-mode`). Pure.

All clusters of a mesh must use the same (spec 6.2). Nothing on the wire says which one it is, so our nodes
say it in an annotation of theirs, which travels in the node's record; who says nothing (Cilium, older
versions) is taken to agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

ANNOTATION = "clustermesh.io/routing-mode"


class RoutingMode(Enum):
    TUNNEL = "tunnel"  # vxlan, the VNI is the sender's identity
    NATIVE = "native"  # the network knows the way to pods, their address is who they are


def objection(annotations: Mapping[str, str], ours: RoutingMode) -> str:
    """Why we and a node with these annotations cannot exchange packets; "" when they can."""
    theirs = annotations.get(ANNOTATION, ours.value)
    return "" if theirs == ours.value else f"its routing mode is {theirs[:16]}, ours is {ours.value}"
