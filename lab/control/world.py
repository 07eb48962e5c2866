"""What a cluster's controllers see, and what they may ask for. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from k8s.core import Namespace, Node, Service
from k8s.discovery import EndpointSlice
from k8s.objects import KubeObject
from k8s.resource import Resource
from lab.manifest import CronJob, Job, Pod, Workload
from lab.plan import CONTROL_LABEL

Body = dict[str, Any]

# Our kubelet holds a pod back until its processes are gone: this is what makes deletion graceful.
FINALIZER = "clustermesh.io/lab-kubelet"

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class World:
    """Every object the controllers look at, by `namespace/name` or `name`. Complete: all kinds are listed."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    slices: Mapping[str, EndpointSlice] = field(default_factory=dict)
    accounts: Mapping[str, KubeObject] = field(default_factory=dict)
    deployments: Mapping[str, Workload] = field(default_factory=dict)
    daemonsets: Mapping[str, Workload] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    cronjobs: Mapping[str, CronJob] = field(default_factory=dict)
    now: datetime = NEVER


@dataclass(frozen=True, slots=True)
class Create:
    resource: Resource
    body: Body


@dataclass(frozen=True, slots=True)
class Patch:
    resource: Resource
    namespace: str
    name: str
    patch: Body
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    resource: Resource
    namespace: str
    name: str


Write = Create | Patch | Delete


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether `labels` hold every pair of `selector`."""
    return selector.items() <= labels.items()


def is_control(node: Node) -> bool:
    return CONTROL_LABEL in node.metadata.labels
