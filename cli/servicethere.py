"""A service as a peer's own API server has it: what its exporter decides by (spec 5.1, 5.3)."""

from __future__ import annotations

from cli import facts
from cli.serviceverdict import There
from cli.target import Target
from k8s import objects
from k8s.client import Client
from k8s.core import Namespace, Service
from k8s.resource import NAMESPACE, SERVICE
from k8s.share import is_global_namespace
from mesh.preference import is_global, is_shared

DEFAULT_GLOBAL = "clustermesh-default-global-namespace"


async def there(client: Client, target: Target, key: str) -> tuple[str, There]:
    """The cluster's name, and the service "namespace/name" there. Raises KubernetesError."""
    namespace, _, name = key.partition("/")
    config = await facts.config_map(client, target.namespace)
    raw = await client.get(SERVICE, name, namespace)
    home = await client.get(NAMESPACE, namespace)
    context = f" --context {target.context}" if target.context else ""
    cluster = config.get("cluster-name", "")
    takes_part = is_global_namespace(objects.decode(home, Namespace).metadata.annotations) if home else None
    if takes_part is None:
        takes_part = config.get(DEFAULT_GLOBAL, "true").lower() == "true"
    if raw is None:
        return cluster, There(context, namespace_takes_part=takes_part)
    annotations = objects.decode(raw, Service).metadata.annotations
    return cluster, There(context, True, is_global(annotations), is_shared(annotations), takes_part)
