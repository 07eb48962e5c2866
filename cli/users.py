"""Who may read this cluster by a name of its own: ConfigMap `clustermesh-remote-users` (spec 4.5).

It is kept once `enable --auth-mode cluster` has made it; where there is none, the proxy lets in every cluster
whose authority it accepts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from aiokit import strictyaml
from cli.errors import CommandError
from cli.running import say
from k8s import objects
from k8s.client import Client
from k8s.core import ConfigMap
from k8s.resource import CONFIGMAP

CONFIG_MAP = "clustermesh-remote-users"
FILE = "users.yaml"
_PREFIX = "remote-"


class _User(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    role: str


class _Users(msgspec.Struct, forbid_unknown_fields=True):
    users: list[_User] | None = None


def parse(text: str) -> frozenset[str]:
    """The clusters that are let in. Raises CommandError when the proxy could not read it either."""
    try:
        document = strictyaml.load(text.encode())
        found = msgspec.convert(document if document is not None else {}, _Users).users or []
    except (yaml.YAMLError, RecursionError, msgspec.ValidationError) as error:
        raise CommandError(f"ConfigMap {CONFIG_MAP}: {' '.join(str(error).split())}") from error
    return frozenset(user.name.removeprefix(_PREFIX) for user in found if user.name.startswith(_PREFIX))


def render(clusters: Iterable[str]) -> str:
    """The file. The same for the same clusters."""
    users = [{"name": _PREFIX + cluster, "role": "remote"} for cluster in sorted(clusters)]
    return yaml.safe_dump({"users": users}, sort_keys=False)


async def read(client: Client, namespace: str) -> frozenset[str] | None:
    """The clusters that are let in; None where no list is kept. Raises CommandError."""
    raw = await client.get(CONFIGMAP, CONFIG_MAP, namespace)
    return None if raw is None else parse(objects.decode(raw, ConfigMap).data.get(FILE, ""))


def body(namespace: str, clusters: Iterable[str]) -> dict[str, Any]:
    metadata = {"name": CONFIG_MAP, "namespace": namespace}
    return {"metadata": metadata, "data": {FILE: render(clusters)}}


def extended(present: frozenset[str] | None, clusters: Iterable[str]) -> frozenset[str] | None:
    """The list with these on it; None where it need not be written."""
    if present is None or present.issuperset(clusters := set(clusters)):
        return None
    return present.union(clusters)


async def write(client: Client, namespace: str, clusters: Iterable[str]) -> None:
    await client.apply(CONFIGMAP, body(namespace, clusters))


async def let_in(client: Client, namespace: str, host: str, *clusters: str) -> None:
    """`host`: the name of the cluster that they may read."""
    present = await read(client, namespace)
    wanted = extended(present, clusters)
    if present is not None and wanted is not None:
        await write(client, namespace, wanted)
        say(f"{host} lets in {', '.join(sorted(set(clusters) - present))}")


async def shut_out(client: Client, namespace: str, host: str, cluster: str) -> None:
    present = await read(client, namespace)
    if present is not None and cluster in present:
        await write(client, namespace, present - {cluster})
        say(f"{host} no longer lets in {cluster}")
