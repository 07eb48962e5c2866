"""Objects as the lab's kubelet and controllers read them: only the fields the lab acts on.

Like `k8s.objects`, and decoded by its `decode`: names are those of the wire, every field has a default.
They are separate because agents and exporters must not pay for decoding what only a kubelet reads.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from k8s.core import ConfigMap as BaseConfigMap
from k8s.core import ContainerPort, PodStatus
from k8s.objects import KubeObject, ObjectMeta


class FieldSelector(Struct, frozen=True):
    fieldPath: str = ""


class KeySelector(Struct, frozen=True):
    name: str = ""
    key: str = ""
    optional: bool = False


class EnvSource(Struct, frozen=True):
    fieldRef: FieldSelector | None = None
    configMapKeyRef: KeySelector | None = None
    secretKeyRef: KeySelector | None = None


class EnvVar(Struct, frozen=True):
    name: str = ""
    value: str = ""
    valueFrom: EnvSource | None = None


class HTTPGet(Struct, frozen=True):
    path: str = "/"
    port: int | str = 0
    host: str = ""
    scheme: str = "HTTP"


class TCPSocket(Struct, frozen=True):
    port: int | str = 0
    host: str = ""


class Probe(Struct, frozen=True):
    httpGet: HTTPGet | None = None
    tcpSocket: TCPSocket | None = None
    initialDelaySeconds: int = 0
    periodSeconds: int = 10
    timeoutSeconds: int = 1
    failureThreshold: int = 3


class VolumeMount(Struct, frozen=True):
    name: str = ""
    mountPath: str = ""
    subPath: str = ""
    readOnly: bool = False


class Container(Struct, frozen=True):
    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    readinessProbe: Probe | None = None
    terminationMessagePolicy: str = "File"
    volumeMounts: tuple[VolumeMount, ...] = ()


class KeyToPath(Struct, frozen=True):
    key: str = ""
    path: str = ""


class SecretVolume(Struct, frozen=True):
    secretName: str = ""
    items: tuple[KeyToPath, ...] | None = None
    optional: bool = False


class NamedSource(Struct, frozen=True):
    """A ConfigMap volume, or a Secret or ConfigMap inside a projected one."""

    name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    optional: bool = False


class Projection(Struct, frozen=True):
    secret: NamedSource | None = None
    configMap: NamedSource | None = None


class ProjectedVolume(Struct, frozen=True):
    sources: tuple[Projection, ...] = ()


class HostPath(Struct, frozen=True):
    path: str = ""


class Volume(Struct, frozen=True):
    name: str = ""
    secret: SecretVolume | None = None
    configMap: NamedSource | None = None
    projected: ProjectedVolume | None = None
    emptyDir: dict[str, Any] | None = None
    hostPath: HostPath | None = None


class Toleration(Struct, frozen=True):
    key: str = ""
    operator: str = ""
    effect: str = ""


class PodSpec(Struct, frozen=True):
    nodeName: str = ""
    nodeSelector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    hostNetwork: bool = False
    serviceAccountName: str = ""
    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restartPolicy: str = "Always"
    terminationGracePeriodSeconds: int | None = None


class PodMeta(ObjectMeta, frozen=True):
    finalizers: tuple[str, ...] = ()


class Pod(KubeObject, frozen=True):
    metadata: PodMeta = PodMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class ConfigMap(BaseConfigMap, frozen=True):
    binaryData: dict[str, bytes] = field(default={})

    @property
    def files(self) -> dict[str, bytes]:
        return {key: value.encode() for key, value in self.data.items()} | self.binaryData


class LabelSelector(Struct, frozen=True):
    matchLabels: dict[str, str] = {}


class WorkloadSpec(Struct, frozen=True):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: dict[str, Any] = {}


class Workload(KubeObject, frozen=True):
    """A Deployment or a DaemonSet; the status is compared as a whole with what it should be."""

    spec: WorkloadSpec = WorkloadSpec()
    status: dict[str, Any] = field(default={})


class JobSpec(Struct, frozen=True):
    template: dict[str, Any] = {}
    backoffLimit: int = 6


class Job(KubeObject, frozen=True):
    """Pods that end: one at a time here, as long as none has succeeded and not too many have failed."""

    spec: JobSpec = JobSpec()
    status: dict[str, Any] = field(default={})

    @property
    def is_over(self) -> bool:
        rows = self.status.get("conditions") or ()
        return any(row["type"] in ("Complete", "Failed") and row["status"] == "True" for row in rows)

    @property
    def has_failed(self) -> bool:
        rows = self.status.get("conditions") or ()
        return any(row["type"] == "Failed" and row["status"] == "True" for row in rows)


class CronJobSpec(Struct, frozen=True):
    schedule: str = ""
    suspend: bool = False
    concurrencyPolicy: str = "Allow"
    jobTemplate: dict[str, Any] = {}
    successfulJobsHistoryLimit: int = 3
    failedJobsHistoryLimit: int = 1


class CronJobStatus(Struct, frozen=True):
    lastScheduleTime: str = ""


class CronJob(KubeObject, frozen=True):
    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()
