"""What a pod's containers are started with: volumes on disk, mounts, environment, command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from lab.errors import LabError, PodConfigError
from lab.manifest import Container, Pod, Volume
from lab.node import container, volumes
from lab.node.node_context import NodeContext
from lab.node.runtime import Bind, Launch
from lab.paths import PodPaths


@dataclass(slots=True)
class PodSetup:
    """Of one pod. Asked anew for every start, so that changed Secrets and ConfigMaps count."""

    pod: Pod
    node: NodeContext
    pod_ips: tuple[str, ...] = ()
    published: dict[str, volumes.Files] = field(default_factory=dict)

    @property
    def paths(self) -> PodPaths:
        return self.node.paths.pod(self.pod.metadata.uid)

    @property
    def _sources(self) -> volumes.Sources:
        return self.node.sources.of(self.pod.metadata.namespace)

    def container(self, name: str) -> Container:
        """The one called `name`, or the first. Raises LabError."""
        for each in self.pod.spec.containers:
            if name in ("", each.name):
                return each
        raise LabError(f"pod {self.pod.metadata.name} has no container {name}")

    def publish(self) -> None:
        """Bring volumes of files up to date. Raises PodConfigError when a source is absent."""
        for volume in self.pod.spec.volumes:
            files = volumes.wanted(volume, self._sources)
            if files is not None and files != self.published.get(volume.name):
                volumes.publish(self.paths.volumes / volume.name, files)
                self.published[volume.name] = files

    def launch(self, spec: Container) -> Launch:
        """How to start a container. Raises PodConfigError."""
        env = self.environment(spec)
        return Launch(
            container.argv(spec, env, sys.executable),
            env,
            self.node.network_namespace(self.pod),
            self.node.cgroup(self.pod),
            self._binds(spec),
            self.paths.log(spec.name),
        )

    def environment(self, spec: Container) -> dict[str, str]:
        place = container.Place(self.node.plan.name, str(self.node.plan.ip), self.pod_ips)
        return container.environment(self.pod, spec, self.node.environment(self.pod), place, self._sources)

    def _binds(self, spec: Container) -> list[Bind]:
        named: dict[str, Volume] = {volume.name: volume for volume in self.pod.spec.volumes}
        binds = []
        for mount in spec.volumeMounts:
            if mount.name not in named:
                raise PodConfigError(f"container {spec.name} mounts volume {mount.name}, which is not there")
            source = volumes.place(named[mount.name], self.paths.volumes, self.node.paths.rootfs)
            if source is not None:
                source = source / mount.subPath if mount.subPath else source
                binds.append(Bind(source, container.mount_target(mount.mountPath), mount.readOnly))
        return binds
