"""The definitions of Cilium's kinds, for clusters that do not run Cilium. Pure.

Only ever created, never changed: where Cilium runs, its own stricter definitions stay. The schemas here
are open (unknown fields are kept), because other writers of these kinds know more fields than we do.
"""

from __future__ import annotations

from typing import Any

from k8s.resource import (
    CILIUMCLUSTERWIDENETWORKPOLICY,
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNETWORKPOLICY,
    CILIUMNODE,
    CRD,
    Resource,
)

__all__ = ["CRD", "definitions"]

_SHORT = {
    CILIUMNODE: ["cn", "ciliumn"],
    CILIUMIDENTITY: ["ciliumid"],
    CILIUMENDPOINT: ["cep", "ciliumep"],
    CILIUMNETWORKPOLICY: ["cnp", "ciliumnp"],
    CILIUMCLUSTERWIDENETWORKPOLICY: ["ccnp"],
}
_WITH_STATUS = frozenset({CILIUMNODE, CILIUMNETWORKPOLICY, CILIUMCLUSTERWIDENETWORKPOLICY})


def definitions() -> list[dict[str, Any]]:
    return [_definition(resource) for resource in _SHORT]


def _definition(resource: Resource) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    if resource in _WITH_STATUS:
        version["subresources"] = {"status": {}}
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
            "versions": [version],
        },
    }
