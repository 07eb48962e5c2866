"""What agents told Kubernetes of their nodes, when they are no more: CiliumNodes, and endpoints on these.

Only records of agents of ours, told by the annotation that no other program writes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection

from k8s import objects
from k8s.cilium import CiliumEndpoint, CiliumNode
from k8s.client import Client
from k8s.errors import NotFoundError
from k8s.resource import CILIUMENDPOINT, CILIUMNODE
from mesh.routingmode import ANNOTATION


async def remove(client: Client, nodes: Collection[str]) -> AsyncGenerator[str]:
    """What was deleted, as it goes. Endpoints first: they are told by their node's addresses."""
    try:
        known = [objects.decode(raw, CiliumNode) for raw in await client.list(CILIUMNODE)]
    except NotFoundError:  # the kind itself has been deleted, and all of it with it
        return
    gone = [node for node in known if node.metadata.name in nodes and ANNOTATION in node.metadata.annotations]
    addresses = {each.ip for node in gone for each in node.spec.addresses}
    for raw in await client.list(CILIUMENDPOINT) if gone else ():
        endpoint = objects.decode(raw, CiliumEndpoint)
        name, namespace = endpoint.metadata.name, endpoint.metadata.namespace
        is_ours = endpoint.status.networking.node in addresses
        if is_ours and await client.delete(CILIUMENDPOINT, name, namespace):
            yield f"CiliumEndpoint {namespace}/{name}"
    for node in gone:
        if await client.delete(CILIUMNODE, node.metadata.name):
            yield f"CiliumNode {node.metadata.name}"
