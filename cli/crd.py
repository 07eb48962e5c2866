"""The definitions of Cilium's kinds, for clusters that do not run Cilium, and of MCS-API's. Pure.

Only ever created, never changed: where Cilium runs, its own stricter definitions stay. The schemas here
are open (unknown fields are kept), because other writers of these kinds know more fields than we do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8s.resource import (
    CILIUMCLUSTERWIDENETWORKPOLICY,
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNETWORKPOLICY,
    CILIUMNODE,
    CRD,
    SERVICEEXPORT,
    SERVICEIMPORT,
    Resource,
)

__all__ = ["CRD", "MCS_API", "definitions", "lacks_version"]

_SHORT = {
    CILIUMNODE: ["cn", "ciliumn"],
    CILIUMIDENTITY: ["ciliumid"],
    CILIUMENDPOINT: ["cep", "ciliumep"],
    CILIUMNETWORKPOLICY: ["cnp", "ciliumnp"],
    CILIUMCLUSTERWIDENETWORKPOLICY: ["ccnp"],
    SERVICEEXPORT: ["svcex", "svcexport"],
    SERVICEIMPORT: ["svcim", "svcimport"],
}
MCS_API = (SERVICEEXPORT, SERVICEIMPORT)
_WITH_STATUS = frozenset({CILIUMNODE, CILIUMNETWORKPOLICY, CILIUMCLUSTERWIDENETWORKPOLICY, *MCS_API})
_OLDER = dict.fromkeys(MCS_API, "v1alpha1")  # the same objects, for clients that ask for that version


def definitions(*, mcs_api: bool = False) -> list[dict[str, Any]]:
    return [_definition(resource) for resource in _SHORT if mcs_api or resource not in MCS_API]


def lacks_version(definition: bytes, resource: Resource) -> bool:
    """Whether an installed definition does not serve the version that our programs read."""
    spec = msgspec.json.decode(definition)["spec"]
    return resource.version not in {each["name"] for each in spec["versions"] if each.get("served")}


def _definition(resource: Resource) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    if resource in _WITH_STATUS:
        version["subresources"] = {"status": {}}
    older = [_OLDER[resource]] if resource in _OLDER else []
    return {
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": _SHORT[resource],
            },
            "versions": [version, *({**version, "name": name, "storage": False} for name in older)],
        },
    }
