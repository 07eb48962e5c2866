"""A node's kubelet: registers the node and runs the pods that are bound to it.

After a restart it adopts nothing: what a predecessor left running is ended, and every pod starts anew with
a fresh network; volumes of pods that still exist keep their files.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import aclosing
from typing import Any

from aiokit.backoff import Backoff
from k8s.errors import KubernetesError
from k8s.resource import NODE, POD
from k8s.watch import follow
from lab import cgroup, netns, plan
from lab.manifest import Pod
from lab.node import pod_record
from lab.node.node_context import NodeContext
from lab.node.pod_worker import PodWorker
from lab.plan import NodePlan

RECLAIM_SECONDS = 2.0  # how long an address may stay out after the agent is back

log = logging.getLogger(__name__)


class Kubelet:
    def __init__(self, node: NodeContext) -> None:
        self.node = node
        self._workers: dict[str, PodWorker] = {}  # by uid: a name may be reused while its last owner ends

    async def run(self) -> None:
        """Until cancelled; then every pod of the node is stopped."""
        await asyncio.to_thread(self._end_leftovers)
        await self._register()
        pods = follow(
            self.node.client,
            POD,
            Pod,
            field_selector=f"spec.nodeName={self.node.plan.name}",
            backoff=Backoff(0.1, 5),
        )
        async with asyncio.TaskGroup() as group, aclosing(pods) as deltas:
            group.create_task(self._reclaim(), name=f"reclaim {self.node.plan.name}")
            async for delta in deltas:
                for key, pod in delta.upserts.items():
                    self._end_others(key, pod.metadata.uid)
                    self._upsert(pod, group)
                for key in delta.removes:
                    self._end_others(key, "")
                if delta.synced:
                    self._remove_strangers()

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod; of two with the same name the one that is not ending."""
        found = [w for w in self._workers.values() if w.pod.metadata.key == f"{namespace}/{name}"]
        return min(found, key=lambda worker: worker.pod.metadata.is_ending, default=None)

    def _upsert(self, pod: Pod, group: asyncio.TaskGroup) -> None:
        uid = pod.metadata.uid
        if uid in self._workers:
            self._workers[uid].update(pod)
            return
        worker = self._workers[uid] = PodWorker(pod, self.node)
        worker.update(pod)
        group.create_task(self._work(worker, uid), name=f"worker {pod.metadata.key}")

    async def _work(self, worker: PodWorker, uid: str) -> None:
        try:
            await worker.run()
        finally:
            del self._workers[uid]

    def _end_others(self, key: str, uid: str) -> None:
        """Whoever else was called `key` has been deleted, even if we never saw it happen."""
        for other, worker in self._workers.items():
            if worker.pod.metadata.key == key and other != uid:
                worker.end()

    async def _reclaim(self) -> None:
        while True:
            await self.node.network.reclaim(self._workers.keys())
            await asyncio.sleep(RECLAIM_SECONDS)

    def _end_leftovers(self) -> None:
        node, root = self.node.plan, self.node.cgroup2
        cgroup.remove(node.cgroup(root) / "pods")
        for path in self.node.paths.pods.glob("*/pod.json"):
            record = pod_record.read(path)
            if record is not None and record.network != node.namespace:
                netns.remove(record.network)
            path.unlink(missing_ok=True)

    def _remove_strangers(self) -> None:
        for path in self.node.paths.pods.glob("*"):
            if path.name not in self._workers:
                shutil.rmtree(path, ignore_errors=True)

    async def _register(self) -> None:
        backoff = Backoff(0.1, 2)
        body = node_body(self.node.plan)
        while True:
            try:
                await self.node.client.apply(NODE, {k: v for k, v in body.items() if k != "status"})
                await self.node.client.merge_patch(
                    NODE, self.node.plan.name, {"status": body["status"]}, subresource="status"
                )
            except KubernetesError as error:
                log.warning("node %s not registered: %s", self.node.plan.name, error)
                await asyncio.sleep(backoff.next())
            else:
                return


def node_body(node: NodePlan) -> dict[str, Any]:
    """The Node object. Pure."""
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"}
    if node.is_control:
        labels |= {plan.CONTROL_LABEL: "", "node-role.kubernetes.io/control-plane": ""}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": str(node.pod_cidr), "podCIDRs": list(node.pod_cidrs)},
        "status": {
            "addresses": [
                *({"type": "InternalIP", "address": str(ip)} for ip in (node.ip, node.ip6) if ip),
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "the lab's kubelet runs",
                }
            ],
            "nodeInfo": {"kubeletVersion": "v1.31.0-lab", "operatingSystem": "linux"},
        },
    }
