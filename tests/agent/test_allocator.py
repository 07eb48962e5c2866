"""Numbers for label sets, when others allocate too."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.allocator import Allocator
from agent.labels import security_labels
from k8s.errors import ConflictError
from k8s.resource import Resource
from mesh.addressing import Identity
from mesh.identity import Labels
from tests.agent.values import EAST, labels, number


class Server:
    """CiliumIdentities by name, as Kubernetes treats names."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    async def create(self, resource: Resource, body: dict[str, Any], namespace: str = "") -> bytes:
        name = body["metadata"]["name"]
        if name in self.objects:
            raise ConflictError(409, "AlreadyExists", name)
        self.objects[name] = body
        return msgspec.json.encode(body)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> bytes | None:
        body = self.objects.get(name)
        return msgspec.json.encode(body) if body is not None else None


async def test_the_same_labels_get_the_same_number_from_every_agent() -> None:
    server, blind = Server(), dict[Identity, Labels]()
    one = await Allocator(server, EAST, blind).allocate(labels("web"))
    other = await Allocator(server, EAST, blind).allocate(labels("web"))
    assert one == other
    assert len(server.objects) == 1
    assert server.objects[str(one)]["security-labels"] == security_labels(labels("web"))


async def test_a_number_that_means_something_else_is_passed_over() -> None:
    server = Server()
    taken = await Allocator(server, EAST, {}).allocate(labels("web"))
    server.objects[str(taken)]["security-labels"] = security_labels(labels("other"))
    moved = await Allocator(server, EAST, {}).allocate(labels("web"))
    assert moved == taken + 1 or moved == number(1, 0)
    again = await Allocator(server, EAST, {taken: labels("other")}).allocate(labels("web"))
    assert again == moved


async def test_a_known_number_is_used_without_asking_and_of_several_the_lowest() -> None:
    server = Server()
    known = {number(1, 9): labels("web"), number(1, 4): labels("web"), number(1, 1): labels("api")}
    assert await Allocator(server, EAST, known).allocate(labels("web")) == number(1, 4)
    assert server.objects == {}


async def test_a_number_from_before_the_cluster_had_another_id_is_not_used() -> None:
    known = {number(2, 4): labels("web")}
    assert EAST.owns(await Allocator(Server(), EAST, known).allocate(labels("web")))
