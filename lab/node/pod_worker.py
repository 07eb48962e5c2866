"""One pod on one node, from being bound to being gone.

Every step that can fail waits and tries again; what it waits for is in the pod's status. Ended politely,
a pod's processes get their grace, then its cgroup, network, files and finalizer go, in this order.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokit.backoff import Backoff
from k8s.errors import KubernetesError, NotFoundError
from k8s.resource import POD
from lab import cgroup
from lab.control.world import FINALIZER
from lab.errors import LabError, PodConfigError
from lab.manifest import Pod
from lab.node import container, pod_record, pod_status
from lab.node.node_context import NodeContext
from lab.node.pod_containers import PodContainers, log_tail
from lab.node.pod_record import ContainerRecord, PodRecord
from lab.node.pod_setup import PodSetup
from lab.node.pod_status import PodFacts
from lab.node.runtime import exec_command

GRACE_SECONDS = 5.0  # at most, whatever the pod asks for: nobody waits half a minute for a lab
SHUTDOWN_SECONDS = 2.0  # when the whole cluster ends

log = logging.getLogger(__name__)


class PodWorker:
    """Owned by the kubelet, which runs it and tells it of changes."""

    def __init__(self, pod: Pod, node: NodeContext) -> None:
        self.pod = pod
        self._node = node
        self._setup = PodSetup(pod, node)
        self._paths = self._setup.paths
        self._facts = PodFacts(str(node.plan.ip), started=_now())
        self._reported: dict[str, Any] = {}
        self._ending = asyncio.Event()
        self._containers = PodContainers(pod, self._setup.launch, node.plan.namespace, _now)

    def update(self, pod: Pod) -> None:
        self.pod = pod
        if pod.metadata.is_ending:
            self._ending.set()

    def end(self) -> None:
        """The object is gone: end as if it were being deleted."""
        self._ending.set()

    async def run(self) -> None:
        grace = SHUTDOWN_SECONDS
        try:
            async with asyncio.TaskGroup() as group:
                life = group.create_task(self._live(), name=f"pod {self.pod.metadata.key}")
                await self._ending.wait()
                grace = GRACE_SECONDS
                life.cancel()
        finally:
            await self._tear_down(grace)
        await self._retry("finalizer", self._drop_finalizer)

    def exec_argv(self, name: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """How to run `argv` in a container, and its environment. Raises LabError."""
        spec = self._setup.container(name)
        running = self._containers.running.get(spec.name)
        if running is None or not running.identity.is_alive:
            raise LabError(f"container {spec.name} of pod {self.pod.metadata.name} is not running")
        words = container.program(list(argv), sys.executable)
        command = exec_command(running.identity.pid, self._node.cgroup(self.pod), words)
        return command, self._setup.environment(spec)

    def read_log(self, name: str, tail: int | None) -> bytes:
        return log_tail(self._paths.log(self._setup.container(name).name), tail)

    # -- living -------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report(), name=f"report {self.pod.metadata.key}")
            await self._retry("finalizer", self._add_finalizer)
            await self._fill_volumes()
            group.create_task(self._refresh_volumes(), name=f"volumes {self.pod.metadata.key}")
            addresses = await self._join_network()
            self._containers.pod_ip, self._setup.pod_ips = addresses[0], addresses
            self._say(pod_ips=addresses, blocker="", message="")
            await self._containers.run()

    async def _fill_volumes(self) -> None:
        revision = -1
        while True:
            await self._node.sources.wait_newer(revision)
            revision = self._node.sources.revision
            try:
                self._setup.publish()
            except PodConfigError as error:
                self._say(blocker="FailedMount", message=str(error))
            else:
                return

    async def _refresh_volumes(self) -> None:
        revision = self._node.sources.revision
        while True:
            await self._node.sources.wait_newer(revision)
            revision = self._node.sources.revision
            try:
                self._setup.publish()
            except PodConfigError as error:  # keeps what it had, as a real kubelet does
                log.warning("volumes of %s stay as they are: %s", self.pod.metadata.key, error)

    async def _join_network(self) -> tuple[str, ...]:
        if self.pod.spec.hostNetwork:
            return (str(self._node.plan.ip),)
        backoff = Backoff(0.1, 2)
        while True:
            try:
                return await self._node.network.add(self._node.interface(self.pod))
            except (LabError, OSError) as error:
                self._say(blocker="NetworkNotReady", message=str(error))
            await asyncio.sleep(backoff.next())

    # -- telling ------------------------------------------------------------------------------------------

    def _say(self, **facts: Any) -> None:
        new = replace(self._facts, **facts)
        if new != self._facts:
            self._facts = new
            self._containers.changed.set()

    async def _report(self) -> None:
        """Keep the API and the record on disk equal to what is."""
        while True:
            self._containers.changed.clear()
            self._write_record()
            await self._retry("status", self._send_status)
            await self._containers.changed.wait()

    async def _send_status(self) -> None:
        status = pod_status.build(
            self.pod, self._facts, self._containers.states, self._reported.get("conditions", []), _now()
        )
        if status != self._reported:
            meta = self.pod.metadata
            patch = {"metadata": {"uid": meta.uid}, "status": status}
            await self._node.client.merge_patch(POD, meta.name, patch, meta.namespace, "status")
            self._reported = status

    def _write_record(self) -> None:
        meta, states, running = self.pod.metadata, self._containers.states, self._containers.running
        containers = tuple(
            ContainerRecord(
                each.name,
                running[each.name].identity if states[each.name].is_running else None,
                states[each.name].restarts,
                str(self._paths.log(each.name)),
            )
            for each in self.pod.spec.containers
            if each.name in states and each.name in running
        )
        record = PodRecord(
            cluster=self._node.plan.cluster,
            node=self._node.plan.name,
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            ip=self._facts.pod_ip,
            network=self._node.network_namespace(self.pod),
            cgroup=str(self._node.cgroup(self.pod)),
            is_ready=bool(states) and all(state.is_ready for state in states.values()),
            containers=containers,
        )
        pod_record.write(self._paths.record, record)

    async def _add_finalizer(self) -> None:
        if FINALIZER not in self.pod.metadata.finalizers:
            await self._set_finalizers([*self.pod.metadata.finalizers, FINALIZER])

    async def _drop_finalizer(self) -> None:
        # written even if it seems absent: the watch may not have told us yet that we added it
        await self._set_finalizers([each for each in self.pod.metadata.finalizers if each != FINALIZER])

    async def _set_finalizers(self, wanted: list[str]) -> None:
        meta = self.pod.metadata
        patch = {"metadata": {"uid": meta.uid, "finalizers": wanted}}
        await self._node.client.merge_patch(POD, meta.name, patch, meta.namespace)

    async def _retry(self, what: str, call: Any) -> None:
        """Until it succeeds; an object that is gone (or another by now) needs nothing any more."""
        backoff = Backoff(0.1, 5)
        while True:
            try:
                await call()
            except NotFoundError:
                return
            except KubernetesError as error:
                log.warning("%s of %s not written: %s", what, self.pod.metadata.key, error)
                if getattr(error, "status", 0) == 409:  # the name belongs to a later pod
                    return
                await asyncio.sleep(backoff.next())
            else:
                return

    # -- ending -------------------------------------------------------------------------------------------

    async def _tear_down(self, grace: float) -> None:
        asked = self.pod.spec.terminationGracePeriodSeconds
        await self._containers.stop(grace if asked is None else min(grace, asked))
        try:
            await asyncio.to_thread(cgroup.remove, self._node.cgroup(self.pod))
            if not self.pod.spec.hostNetwork:
                await self._node.network.remove(self._node.interface(self.pod))
        except (LabError, OSError) as error:  # the node's other pods go on; `lab down` finds it
            log.error("pod %s left something behind: %s", self.pod.metadata.key, error)
        await asyncio.to_thread(_remove_files, self._paths.root)


def _remove_files(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
