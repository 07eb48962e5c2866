"""Which kinds the lab's API serves: the built-in ones, and those that CustomResourceDefinitions add. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from k8s import resource as known
from k8s.resource import Resource

Json = dict[str, Any]

REGISTRY = b"/registry/"
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource as served, and where its objects are stored: all versions of one in one place."""

    resource: Resource
    short_names: tuple[str, ...] = ()
    has_status: bool = False  # the main resource ignores `status`, the subresource all else
    has_scale: bool = False
    is_custom: bool = False
    stored_version: str = ""  # apiVersion in storage; empty: the served one
    singular: str = field(default="")

    @property
    def group(self) -> str:
        return self.resource.group

    @property
    def plural(self) -> str:
        return self.resource.plural

    @property
    def name(self) -> str:
        return self.resource.kind

    @property
    def prefix(self) -> bytes:
        return f"/registry/{self.group or 'core'}/{self.plural}/".encode()

    def key(self, namespace: str, name: str) -> bytes:
        return self.prefix + (f"{namespace}/{name}" if self.resource.namespaced else name).encode()

    @property
    def storage_version(self) -> str:
        return self.stored_version or self.resource.api_version


CRD = Kind(known.CRD, ("crd", "crds"), has_status=True)
NAMESPACE = Kind(known.NAMESPACE, ("ns",), has_status=True)
POD = Kind(known.POD, ("po",), has_status=True)
SERVICE = Kind(known.SERVICE, ("svc",), has_status=True)

BUILT_IN = (
    CRD,
    NAMESPACE,
    POD,
    SERVICE,
    Kind(known.NODE, ("no",), has_status=True),
    Kind(known.SECRET),
    Kind(known.CONFIGMAP, ("cm",)),
    Kind(known.SERVICEACCOUNT, ("sa",)),
    Kind(known.EVENT, ("ev",)),
    Kind(Resource("", "v1", "endpoints", "Endpoints", True), ("ep",)),
    Kind(known.ENDPOINTSLICE),
    Kind(known.DEPLOYMENT, ("deploy",), has_status=True, has_scale=True),
    Kind(known.REPLICASET, ("rs",), has_status=True, has_scale=True),
    Kind(known.STATEFULSET, ("sts",), has_status=True, has_scale=True),
    Kind(known.DAEMONSET, ("ds",), has_status=True),
    Kind(known.JOB, has_status=True),
    Kind(known.CRONJOB, ("cj",), has_status=True),
    Kind(known.PODDISRUPTIONBUDGET, ("pdb",), has_status=True),
    Kind(known.ROLE),
    Kind(known.ROLEBINDING),
    Kind(known.CLUSTERROLE),
    Kind(known.CLUSTERROLEBINDING),
    Kind(known.LEASE),
    Kind(known.NETWORKPOLICY, ("netpol",)),
    Kind(Resource("events.k8s.io", "v1", "events", "Event", True), ("ev",)),
)


class Kinds:
    """The served kinds at one moment; a new value whenever a definition changes."""

    def __init__(self, definitions: Iterable[Json] = ()) -> None:
        custom = [kind for definition in definitions for kind in from_definition(definition)]
        # built-in kinds come last, so that no definition can take their place
        self._kinds: Mapping[tuple[str, str, str], Kind] = {
            (kind.group, kind.resource.version, kind.plural): kind for kind in (*custom, *BUILT_IN)
        }

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def in_group(self, group: str) -> dict[str, list[Kind]]:
        """Kinds by version; empty when there is no such group."""
        versions: dict[str, list[Kind]] = {}
        for kind in self._kinds.values():
            if kind.group == group:
                versions.setdefault(kind.resource.version, []).append(kind)
        return versions

    def groups(self) -> list[str]:
        """Every named group, sorted."""
        return sorted({kind.group for kind in self._kinds.values()} - {""})


def from_definition(definition: Json) -> list[Kind]:
    """One kind for each served version of a CustomResourceDefinition."""
    spec = definition["spec"]
    names, versions = spec["names"], spec["versions"]
    stored = next(version["name"] for version in versions if version.get("storage"))
    return [
        Kind(
            Resource(
                spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced"
            ),
            tuple(names.get("shortNames") or ()),
            has_status="status" in (version.get("subresources") or {}),
            is_custom=True,
            stored_version=f"{spec['group']}/{stored}",
            singular=names.get("singular", ""),
        )
        for version in versions
        if version.get("served")
    ]
