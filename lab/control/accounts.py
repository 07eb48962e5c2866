"""A ServiceAccount `default` in every namespace. Pure."""

from __future__ import annotations

from k8s.resource import SERVICEACCOUNT
from lab.control.world import Create, World, Write

DEFAULT = "default"


def control(world: World) -> list[Write]:
    return [
        Create(SERVICEACCOUNT, {"metadata": {"name": DEFAULT, "namespace": namespace}})
        for namespace, held in world.namespaces.items()
        if not held.metadata.is_ending and f"{namespace}/{DEFAULT}" not in world.accounts
    ]
