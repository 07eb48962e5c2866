"""What of an enabled mesh is not up yet, in words."""

from __future__ import annotations

import msgspec

from cli import facts
from cli.settings import AGENT, OPERATOR, SERVICE
from cli.target import Target
from k8s import objects
from k8s.client import Client
from k8s.core import Service
from k8s.resource import DAEMONSET, DEPLOYMENT
from k8s.resource import SERVICE as SERVICE_KIND


class _Metadata(msgspec.Struct):
    generation: int = 0


class _Spec(msgspec.Struct):
    replicas: int = 1


class _Status(msgspec.Struct):
    observedGeneration: int = 0
    readyReplicas: int = 0
    updatedReplicas: int = 0
    desiredNumberScheduled: int = 0
    updatedNumberScheduled: int = 0
    numberReady: int = 0


class _Workload(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


async def missing(client: Client, target: Target) -> list[str]:
    """Empty when all programs and the Service's address are there."""
    found = [*await control_missing(client, target), *await daemonset_missing(client, target)]
    raw = await client.get(SERVICE_KIND, SERVICE, target.namespace)
    service = objects.decode(raw, Service) if raw else None
    if not await facts.addresses(client, service):
        found.append(f"Service {SERVICE} has no address")
    return found


async def control_missing(client: Client, target: Target) -> list[str]:
    """Of the control plane, and of the operator where there is one."""
    found = await deployment_missing(client, target)
    if await client.get(DEPLOYMENT, OPERATOR, target.namespace) is not None:
        found += await deployment_missing(client, target, OPERATOR)
    return found


async def deployment_missing(client: Client, target: Target, name: str = SERVICE) -> list[str]:
    workload = _decoded(await client.get(DEPLOYMENT, name, target.namespace))
    if workload is None:
        return [f"Deployment {name} does not exist"]
    ready, wanted = (
        min(workload.status.readyReplicas, workload.status.updatedReplicas),
        workload.spec.replicas,
    )
    if _is_observed(workload) and ready >= wanted:
        return []
    return [f"Deployment {name}: {ready} of {wanted} ready"]


async def daemonset_missing(client: Client, target: Target, name: str = AGENT) -> list[str]:
    workload = _decoded(await client.get(DAEMONSET, name, target.namespace))
    if workload is None:
        return [f"DaemonSet {name} does not exist"]
    status = workload.status
    ready, wanted = min(status.numberReady, status.updatedNumberScheduled), status.desiredNumberScheduled
    if _is_observed(workload) and wanted and ready >= wanted:
        return []
    return [f"DaemonSet {name}: {ready} of {wanted} ready"]


def _is_observed(workload: _Workload) -> bool:
    """Whether the status is about the spec of now."""
    return workload.status.observedGeneration >= workload.metadata.generation


def _decoded(raw: bytes | None) -> _Workload | None:
    return msgspec.json.decode(raw, type=_Workload) if raw else None
