"""Kinds of multicluster.x-k8s.io: services of many clusters. Names are the wire's, as in `k8s.objects`."""

from __future__ import annotations

from msgspec import Struct

from k8s.objects import Condition, KubeObject


class ServiceExportSpec(Struct, frozen=True):
    exportedLabels: dict[str, str] = {}
    exportedAnnotations: dict[str, str] = {}


class ServiceExportStatus(Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()


class ServiceExport(KubeObject, frozen=True):
    """The Service of the same name is for all clusters."""

    spec: ServiceExportSpec = ServiceExportSpec()
    status: ServiceExportStatus = ServiceExportStatus()


class ServiceImportSpec(Struct, frozen=True):
    type: str = ""
    ips: tuple[str, ...] = ()


class ExportingCluster(Struct, frozen=True):
    cluster: str = ""


class ServiceImportStatus(Struct, frozen=True):
    clusters: tuple[ExportingCluster, ...] = ()
    endpointSliceObjects: str = ""
    conditions: tuple[Condition, ...] = ()


class ServiceImport(KubeObject, frozen=True):
    """What all clusters export under this name, here."""

    spec: ServiceImportSpec = ServiceImportSpec()
    status: ServiceImportStatus = ServiceImportStatus()
