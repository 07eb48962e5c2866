"""A new version of the agent replaces every program and reads everything again, and no curl notices."""

from __future__ import annotations

import dataclasses

import pytest

from aiokit.wait import eventually
from bpf import link, node_config_map
from bpf.pinned_map import PinnedMap
from bpf.pins import Pins
from bpf.programspec import PROGRAMS
from bpf.spec import NODE_CONFIG
from e2e.conftest import Mesh
from e2e.faults import AGENT, KVSTOREMESH, curls_counted, kill
from lab.plan import NodePlan

INTERVAL = 0.005  # between curls, which take 15 ms themselves: 50 a second


def _forget_the_sources(node: NodePlan) -> None:
    """The next agent finds programs of sources that are not its own, as one of another version does."""
    pins = Pins(node.bpf_root)
    with PinnedMap.open(pins.map(NODE_CONFIG), NODE_CONFIG) as config:
        raw = config.lookup(node_config_map.KEY)
        assert raw
        said = dataclasses.replace(node_config_map.unpack_value(raw), source_hash=node_config_map.NO_HASH)
        config.update([(node_config_map.KEY, node_config_map.pack_value(said))])


def _attached(node: NodePlan) -> dict[str, int]:
    """Every link of the node's, and the program that it has now."""
    pins = Pins(node.bpf_root)
    return {str(pin): link.read(pin).program_id for program in PROGRAMS for pin in pins.links_of(program)}


@pytest.mark.timeout(120)
async def test_programs_are_replaced_under_curl_and_none_fails(mesh: Mesh) -> None:
    nodes = [node for name in ("east", "west") for node in mesh.plan.cluster(name).nodes[1:]]
    before = {node.namespace: _attached(node) for node in nodes}
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url, interval=INTERVAL) as answers:
        for node in nodes:
            _forget_the_sources(node)
            await kill(node, *AGENT)

            def is_replaced(node: NodePlan = node) -> bool:
                old, now = before[node.namespace], _attached(node)
                return all(now[pin] != program for pin, program in old.items())

            await eventually(is_replaced, 60)
        for name in ("east", "west"):
            await mesh.lab.command("status", "--context", name, "--wait", "--wait-duration", "60s")
    assert all(before.values())
    assert [answer for answer in answers if not answer.served_by] == []
    assert {answer.cluster for answer in answers} == {"east", "west"}


async def test_everything_listed_anew_under_curl_fails_none(mesh: Mesh) -> None:
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url, interval=INTERVAL) as answers:
        await kill(mesh.plan.cluster("east").control, *KVSTOREMESH)
        for node in mesh.plan.cluster("east").nodes[1:]:
            await kill(node, *AGENT)
        await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
    assert [answer for answer in answers if not answer.served_by] == []
    assert {answer.cluster for answer in answers} == {"east", "west"}
