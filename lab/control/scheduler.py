"""Gives every pod without one a node: the fitting one with the fewest of its siblings. Pure."""

from __future__ import annotations

from collections import Counter

from k8s.core import Node
from k8s.resource import POD
from lab.control.workloads import fits
from lab.control.world import Patch, World, Write
from lab.manifest import Pod


def control(world: World) -> list[Write]:
    writes: list[Write] = []
    placed = [pod for pod in world.pods.values() if pod.spec.nodeName]
    siblings = Counter((pod.metadata.controller_uid, pod.spec.nodeName) for pod in placed)
    load = Counter(pod.spec.nodeName for pod in placed)
    for key in sorted(world.pods):
        pod = world.pods[key]
        if pod.spec.nodeName or pod.metadata.is_ending:
            continue
        fitting = [node for node in world.nodes.values() if fits(node, pod.spec)]
        if not fitting:
            writes += _unschedulable(pod)
            continue
        name = min(fitting, key=lambda node: _order(node, pod, siblings, load)).metadata.name
        siblings[pod.metadata.controller_uid, name] += 1
        load[name] += 1
        writes.append(Patch(POD, pod.metadata.namespace, pod.metadata.name, {"spec": {"nodeName": name}}))
    return writes


def _order(
    node: Node, pod: Pod, siblings: Counter[tuple[str, str]], load: Counter[str]
) -> tuple[int, int, str]:
    name = node.metadata.name
    return siblings[pod.metadata.controller_uid, name], load[name], name


def _unschedulable(pod: Pod) -> list[Write]:
    if any(c.type == "PodScheduled" and c.reason == "Unschedulable" for c in pod.status.conditions):
        return []
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "no node matches the pod's nodeSelector",
    }
    patch = {"status": {"phase": "Pending", "conditions": [condition]}}
    return [Patch(POD, pod.metadata.namespace, pod.metadata.name, patch, "status")]
