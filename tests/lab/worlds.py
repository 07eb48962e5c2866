"""A cluster in a dictionary: obeys the controllers' writes as the API would, so that they can be watched
until they have nothing left to say."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from k8s.core import Namespace, Node, Service
from k8s.discovery import EndpointSlice
from k8s.objects import KubeObject
from k8s.resource import (
    CRONJOB,
    DAEMONSET,
    DEPLOYMENT,
    ENDPOINTSLICE,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    SERVICEACCOUNT,
    Resource,
)
from lab.control.controllers import CONTROLLERS
from lab.control.world import Create, Delete, World, Write
from lab.manifest import CronJob, Job, Pod, Workload
from lab.plan import CONTROL_LABEL

Body = dict[str, Any]
TYPES: dict[Resource, Any] = {
    POD: Pod,
    NODE: Node,
    NAMESPACE: Namespace,
    SERVICE: Service,
    ENDPOINTSLICE: EndpointSlice,
    SERVICEACCOUNT: KubeObject,
    DEPLOYMENT: Workload,
    DAEMONSET: Workload,
    JOB: Job,
    CRONJOB: CronJob,
}


def merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


@dataclass
class FakeCluster:
    objects: dict[Resource, dict[str, Body]] = field(default_factory=lambda: {kind: {} for kind in TYPES})
    counter: Any = field(default_factory=itertools.count)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def add(self, resource: Resource, body: Body) -> Body:
        meta = body.setdefault("metadata", {})
        number = next(self.counter)
        meta.setdefault("name", f"{meta.get('generateName', '')}{number:05}")
        meta.setdefault("uid", f"uid-{number}")
        meta["generation"] = 1
        if resource.namespaced:
            meta.setdefault("namespace", "default")
        self.objects[resource][self._key(meta.get("namespace", ""), meta["name"])] = body
        return body

    def node(self, name: str, **labels: str) -> None:
        self.add(NODE, {"metadata": {"name": name, "labels": labels}})

    def control_node(self) -> None:
        self.add(NODE, {"metadata": {"name": "control", "labels": {CONTROL_LABEL: ""}}})

    def workload(self, resource: Resource, name: str, *, replicas: int = 1, **spec: Any) -> Body:
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c"}], **spec}}
        return self.add(
            resource, {"metadata": {"name": name}, "spec": {"replicas": replicas, "template": template}}
        )

    def world(self) -> World:
        views = [
            {key: msgspec.convert(body, TYPES[kind]) for key, body in self.objects[kind].items()}
            for kind in TYPES
        ]
        return World(*views, now=self.now)

    def round(self) -> list[Write]:
        """Every controller looks once and is obeyed."""
        done: list[Write] = []
        for controller in CONTROLLERS:
            for write in controller(self.world()):
                self.obey(write)
                done.append(write)
        return done

    def settle(self, rounds: int = 50) -> list[Write]:
        """Until nobody wants anything; all that was done."""
        done: list[Write] = []
        for _ in range(rounds):
            writes = self.round()
            if not writes:
                return done
            done += writes
        raise AssertionError(f"the controllers do not come to rest: {writes}")

    def obey(self, write: Write) -> None:
        match write:
            case Create(resource, body):
                self.add(resource, msgspec.convert(body, Body))
            case Delete(resource, namespace, name):
                self._delete(resource, self._key(namespace, name))
            case _:
                key = self._key(write.namespace, write.name)
                self.objects[write.resource][key] = merge(self.objects[write.resource][key], write.patch)

    def run_pods(self) -> None:
        """What kubelets do: bound pods get an address and become ready, ending ones go."""
        for number, (key, pod) in enumerate(list(self.objects[POD].items())):
            if "deletionTimestamp" in pod["metadata"]:
                del self.objects[POD][key]
            elif pod["spec"].get("nodeName"):
                pod["status"] = {
                    "podIP": f"10.1.1.{number + 2}",
                    "hostIP": f"198.18.1.{number + 11}",
                    "conditions": [{"type": "Ready", "status": "True"}],
                }

    def pods(self, app: str = "") -> list[Body]:
        return [
            p for p in self.objects[POD].values() if app in ("", p["metadata"].get("labels", {}).get("app"))
        ]

    def live(self) -> None:
        """Controllers and kubelets in turn until both rest."""
        for _ in range(50):
            before = msgspec.json.encode(list(self.objects[POD].values()))
            self.settle()
            self.run_pods()
            if msgspec.json.encode(list(self.objects[POD].values())) == before and not self.round():
                return
        raise AssertionError("the cluster does not come to rest")

    def _delete(self, resource: Resource, key: str) -> None:
        body = self.objects[resource][key]
        if body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            del self.objects[resource][key]

    @staticmethod
    def _key(namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if namespace else name
