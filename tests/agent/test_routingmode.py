"""A peer of the other routing mode: said and counted, its data kept, no way given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.peerstate import PeerState
from agent.tables import Tables
from kvstore.watch import Delta
from mesh import node
from mesh.keys import Kind
from mesh.routingmode import ANNOTATION, RoutingMode
from tests.agent import test_noderoutes
from tests.agent.values import NODE, scope


@pytest.mark.parametrize("ours", RoutingMode)
@pytest.mark.parametrize("theirs", ["", *(mode.value for mode in RoutingMode)])
def test_a_node_of_the_other_mode_is_counted_and_kept(ours: RoutingMode, theirs: str) -> None:
    world = Tables(replace(NODE, routing_mode=ours))
    state = PeerState("west", world)
    said = {ANNOTATION: theirs} if theirs else {}
    name, value = node.encode(
        replace(test_noderoutes.node("w1", "198.18.2.11", "10.2.1.0/24"), annotations=said)
    )
    state.apply(Kind.NODES, Delta([(name.encode(), value)]), scope())
    assert state.nodes.keys() == {"w1"}
    refused = (
        {}
        if theirs in ("", ours.value)
        else {f"nodes: its routing mode is {theirs}, ours is {ours.value}": 1}
    )
    assert state.counts().refusals == refused
