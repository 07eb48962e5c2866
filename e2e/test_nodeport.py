"""A global service's node port: every node of a cluster serves it, with the pods of both clusters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from e2e.conftest import Mesh
from lab.demo.objects import service
from lab.demo.steps import until_answered_by

NODE_PORT = 30_080
BOTH = {"east", "west"}


def _web(kind: str) -> dict[str, Any]:
    web = service("web")
    web["spec"]["type"] = kind
    if kind == "NodePort":
        web["spec"]["ports"][0]["nodePort"] = NODE_PORT
    return web


@pytest.fixture
async def served(mesh: Mesh) -> AsyncIterator[Mesh]:
    """East's `web` has a node port."""
    await mesh.lab.apply("east", _web("NodePort"))
    yield mesh
    await mesh.lab.apply("east", _web("ClusterIP"))


async def test_a_pod_is_answered_by_both_clusters_through_any_node(served: Mesh) -> None:
    for node in served.plan.cluster("east").nodes[1:]:
        url = f"http://{node.ip}:{NODE_PORT}/"
        answers = await until_answered_by(served.lab, served.clients["east"], url, BOTH)
        assert any(answer.served_by for answer in answers)
