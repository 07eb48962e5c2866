"""Objects from a YAML file into a cluster of the lab and out again: as much of kubectl as one needs here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import yaml

from k8s import resource
from k8s.access import load
from k8s.client import Client, connect
from k8s.core import Service
from k8s.resource import Resource
from lab import record
from lab.errors import LabError
from lab.paths import LabPaths

Body = dict[str, Any]
_KINDS = {
    (each.api_version, each.kind): each for each in vars(resource).values() if isinstance(each, Resource)
}


def parse(text: bytes) -> list[tuple[Resource, Body]]:
    """All objects of a file, Lists unfolded. Raises LabError that says which document is wrong and how."""
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise LabError(f"not YAML: {error}") from error
    return [found for i, each in enumerate(documents, 1) for found in _objects(each, f"document {i}")]


def _objects(body: Any, where: str) -> list[tuple[Resource, Body]]:
    if not isinstance(body, dict):
        raise LabError(f"{where}: not an object")
    if body.get("kind") == "List" and isinstance(body.get("items"), list):
        return [found for each in body["items"] for found in _objects(each, where)]
    kind = _KINDS.get((str(body.get("apiVersion")), str(body.get("kind"))))
    if kind is None:
        raise LabError(f"{where}: unknown kind {body.get('kind')} of apiVersion {body.get('apiVersion')}")
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise LabError(f"{where}: {kind.kind} without metadata.name")
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    return [(kind, body)]


async def apply(lab: str, cluster: str, text: bytes) -> list[str]:
    """What happened to each object, a line each. Nothing is sent unless the whole file is readable."""
    objects = parse(text)
    async with _client(lab, cluster) as client:
        return [f"{_name(kind, body)} {await client.apply(kind, body)}" for kind, body in objects]


async def delete(lab: str, cluster: str, text: bytes) -> list[str]:
    """As `apply`; an absent object is no error."""
    objects = parse(text)
    lines = []
    async with _client(lab, cluster) as client:
        for kind, body in objects:
            metadata = body["metadata"]
            was_there = await client.delete(kind, metadata["name"], metadata.get("namespace", ""))
            lines.append(f"{_name(kind, body)} {'deleted' if was_there else 'was absent'}")
    return lines


async def scale(lab: str, cluster: str, deployment: str, replicas: int, namespace: str) -> str:
    async with _client(lab, cluster) as client:
        patch = {"spec": {"replicas": replicas}}
        await client.merge_patch(resource.DEPLOYMENT, deployment, patch, namespace)
    return f"deployment/{deployment} scaled to {replicas}"


async def service_ip(lab: str, cluster: str, service: str, namespace: str, *, ipv6: bool = False) -> str:
    """The ClusterIP, or the one of IPv6. Raises LabError for a Service without it."""
    async with _client(lab, cluster) as client:
        raw = await client.get(resource.SERVICE, service, namespace)
    if raw is None:
        raise LabError(f"{cluster} has no service {namespace}/{service}")
    spec = msgspec.json.decode(raw, type=Service).spec
    if not ipv6:
        return spec.clusterIP
    found = next((ip for ip in spec.clusterIPs if ":" in ip), "")
    if not found:
        raise LabError(
            f"service {namespace}/{service} has no IPv6 address: its ipFamilyPolicy must ask for one"
        )
    return found


@asynccontextmanager
async def _client(lab: str, cluster: str) -> AsyncGenerator[Client]:
    record.read(lab).plan.cluster(cluster)  # refuses a lab or a cluster that is not there
    async with connect(load(LabPaths(lab).kubeconfig, cluster)) as client:
        yield client


def _name(kind: Resource, body: Body) -> str:
    return f"{kind.kind.lower()}/{body['metadata']['name']}"
