"""Deployments and DaemonSets become pods. Pure.

A changed template is rolled out pod by pod: an old one goes only while all others are ready. There are no
ReplicaSets in between: the lab keeps no history to roll back to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from k8s.core import Node
from k8s.resource import DAEMONSET, DEPLOYMENT, POD, Resource
from lab.control.world import FINALIZER, Body, Create, Delete, Patch, World, Write, is_control, matches
from lab.manifest import Pod, PodSpec, Workload

HASH_LABEL = "pod-template-hash"


def control(world: World) -> list[Write]:
    writes: list[Write] = [*_orphans(world)]
    for workload in world.deployments.values():
        writes += _deployment(workload, _owned(world, workload))
    for workload in world.daemonsets.values():
        writes += _daemonset(workload, _owned(world, workload), _eligible(world, workload))
    return writes


def _owned(world: World, workload: Workload) -> list[Pod]:
    return [pod for pod in world.pods.values() if pod.metadata.controller_uid == workload.metadata.uid]


def _orphans(world: World) -> Iterator[Write]:
    """Pods made while their owner was being deleted: the API did not know them yet."""
    owners = {each.metadata.uid for each in (*world.deployments.values(), *world.daemonsets.values())}
    kinds = {DEPLOYMENT.kind, DAEMONSET.kind}
    for pod in world.pods.values():
        controllers = [o for o in pod.metadata.ownerReferences if o.controller and o.kind in kinds]
        if controllers and not pod.metadata.is_ending and controllers[0].uid not in owners:
            yield _deletion(pod)


def _deployment(workload: Workload, owned: list[Pod]) -> Iterator[Write]:
    revision = template_hash(workload)
    living = sorted(
        (pod for pod in owned if not pod.metadata.is_ending), key=lambda pod: _worth(pod, revision)
    )
    current = [pod for pod in living if pod.metadata.labels.get(HASH_LABEL) == revision]
    replicas = workload.spec.replicas
    # on the node's own network a successor must not meet the ports of one that still ends
    shares_ports = (workload.spec.template.get("spec") or {}).get("hostNetwork")
    for _ in range(replicas - len(owned if shares_ports else living)):
        yield Create(POD, pod_body(workload, DEPLOYMENT, revision))
    surplus = living[: max(0, len(living) - replicas)]
    for pod in surplus:
        yield _deletion(pod)
    settled = len(owned) == len(living) == replicas  # nobody is missing, too many, or still ending
    outdated = [pod for pod in living if pod not in current]
    if settled and outdated and (all(pod.is_ready for pod in living) or not outdated[0].is_ready):
        yield _deletion(outdated[0])
    ready = sum(pod.is_ready for pod in living)
    yield from _status(
        DEPLOYMENT,
        workload,
        {
            "observedGeneration": workload.metadata.generation,
            "replicas": len(living),
            "updatedReplicas": len(current),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, replicas - ready),
            "conditions": [_condition("Available", ready >= replicas)],
        },
    )


def _daemonset(workload: Workload, owned: list[Pod], nodes: list[Node]) -> Iterator[Write]:
    revision = template_hash(workload)
    living = [pod for pod in owned if not pod.metadata.is_ending]
    names = {node.metadata.name for node in nodes}
    occupied = {pod.spec.nodeName for pod in owned}  # an ending pod still has the node's sockets and ports
    for name in sorted(names - occupied):
        yield Create(POD, pod_body(workload, DAEMONSET, revision, node=name))
    kept: dict[str, Pod] = {}
    for pod in sorted(living, key=lambda pod: _worth(pod, revision), reverse=True):
        if pod.spec.nodeName not in names or pod.spec.nodeName in kept:
            yield _deletion(pod)
        else:
            kept[pod.spec.nodeName] = pod
    outdated = [pod for pod in kept.values() if pod.metadata.labels.get(HASH_LABEL) != revision]
    settled = len(owned) == len(kept) == len(names)
    if settled and outdated and (all(pod.is_ready for pod in kept.values()) or not outdated[-1].is_ready):
        yield _deletion(outdated[-1])
    ready = sum(pod.is_ready for pod in kept.values())
    yield from _status(
        DAEMONSET,
        workload,
        {
            "observedGeneration": workload.metadata.generation,
            "desiredNumberScheduled": len(names),
            "currentNumberScheduled": len(kept),
            "updatedNumberScheduled": len(kept) - len(outdated),
            "numberReady": ready,
            "numberAvailable": ready,
            "numberMisscheduled": 0,
        },
    )


def _eligible(world: World, workload: Workload) -> list[Node]:
    spec = msgspec.convert(workload.spec.template.get("spec", {}), PodSpec)
    return [node for node in world.nodes.values() if fits(node, spec)]


def fits(node: Node, spec: PodSpec) -> bool:
    """Selected by the pod, and not the control-plane node unless the pod asks for it."""
    if not matches(spec.nodeSelector, node.metadata.labels):
        return False
    asks = any(key in node.metadata.labels for key in spec.nodeSelector if "control" in key)
    tolerates = any(t.operator == "Exists" and (not t.key or "control" in t.key) for t in spec.tolerations)
    return asks or tolerates or not is_control(node)


def template_hash(workload: Workload) -> str:
    encoded = msgspec.json.encode(workload.spec.template, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:10]


def pod_body(workload: Workload, resource: Resource, revision: str, *, node: str = "") -> Body:
    template: dict[str, Any] = workload.spec.template
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    owner = workload.metadata
    name = f"{owner.name}-{revision}-" if resource is DEPLOYMENT else f"{owner.name}-"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": name,
            "namespace": owner.namespace,
            "labels": {**(meta.get("labels") or {}), HASH_LABEL: revision},
            "annotations": meta.get("annotations") or {},
            "finalizers": [FINALIZER],
            "ownerReferences": [
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**spec, **({"nodeName": node} if node else {})},
    }


def _worth(pod: Pod, revision: str) -> tuple[bool, bool, bool, str]:
    """What to delete first sorts first: outdated, unplaced, unready; then by name, to be predictable."""
    return (
        pod.metadata.labels.get(HASH_LABEL) == revision,
        bool(pod.spec.nodeName),
        pod.is_ready,
        pod.metadata.name,
    )


def _deletion(pod: Pod) -> Delete:
    return Delete(POD, pod.metadata.namespace, pod.metadata.name)


def _condition(kind: str, holds: bool) -> Body:
    return {"type": kind, "status": "True" if holds else "False"}


def _status(resource: Resource, workload: Workload, wanted: Body) -> Iterator[Write]:
    if {key: workload.status.get(key) for key in wanted} != wanted:
        meta = workload.metadata
        yield Patch(resource, meta.namespace, meta.name, {"status": wanted}, "status")
