"""Who of ours may do what in Kubernetes: the least that each program needs. Pure."""

from __future__ import annotations

from typing import Any

from cli import secret
from cli.settings import AGENT, CA_SECRET, CERTGEN, OPERATOR, SERVICE
from k8s.resource import CLUSTERROLE, CLUSTERROLEBINDING, ROLE, ROLEBINDING, SERVICEACCOUNT, Resource

_READ = ["get", "list", "watch"]
_WRITE = [*_READ, "create", "update", "patch", "delete"]

_RULES: dict[str, list[dict[str, Any]]] = {
    SERVICE: [
        {"apiGroups": [""], "resources": ["namespaces", "nodes", "pods", "services"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
        {
            "apiGroups": ["cilium.io"],
            "resources": ["ciliumnodes", "ciliumidentities", "ciliumendpoints", "ciliumendpointslices"],
            "verbs": _READ,
        },
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": _READ},
    ],
    AGENT: [
        {"apiGroups": [""], "resources": ["namespaces", "nodes", "pods", "services"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
        {
            "apiGroups": ["cilium.io"],
            "resources": [
                "ciliumnodes",
                "ciliumnodes/status",
                "ciliumidentities",
                "ciliumendpoints",
                "ciliumendpoints/status",
            ],
            "verbs": _WRITE,
        },
        {
            "apiGroups": ["cilium.io"],
            "resources": ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"],
            "verbs": _READ,
        },
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _READ},
    ],
}

_MCS_API = "multicluster.x-k8s.io"
# in addition, where the multi-cluster services API is on
_MCS_RULES: dict[str, list[dict[str, Any]]] = {
    SERVICE: [{"apiGroups": [_MCS_API], "resources": ["serviceexports"], "verbs": _READ}],
    OPERATOR: [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["services"], "verbs": _WRITE},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _WRITE},
        {"apiGroups": [_MCS_API], "resources": ["serviceexports"], "verbs": _READ},
        {"apiGroups": [_MCS_API], "resources": ["serviceimports"], "verbs": _WRITE},
        {
            "apiGroups": [_MCS_API],
            "resources": ["serviceexports/status", "serviceimports/status"],
            "verbs": ["update", "patch"],
        },
    ],
}


def objects(namespace: str, *, mcs_api: bool = False) -> list[tuple[Resource, dict[str, Any]]]:
    """Accounts, roles and bindings of the programs."""
    found: list[tuple[Resource, dict[str, Any]]] = []
    more = _MCS_RULES if mcs_api else {}
    for name in dict.fromkeys([*_RULES, *more]):
        rules = _RULES.get(name, []) + more.get(name, [])
        role = {"apiGroup": CLUSTERROLE.group, "kind": CLUSTERROLE.kind, "name": name}
        subject = {"kind": SERVICEACCOUNT.kind, "name": name, "namespace": namespace}
        found += [
            (SERVICEACCOUNT, {"metadata": {"name": name, "namespace": namespace}}),
            (CLUSTERROLE, {"metadata": {"name": name}, "rules": rules}),
            (CLUSTERROLEBINDING, {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}),
        ]
    return found


def certgen(namespace: str, *, issues: bool = False) -> list[tuple[Resource, dict[str, Any]]]:
    """Of the renewal: exactly these Secrets. Creating cannot be limited by name: only who issues may."""
    metadata = {"name": CERTGEN, "namespace": namespace}
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [CA_SECRET], "verbs": ["get"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": list(secret.LEAVES),
            "verbs": ["get", "patch"],
        },
    ]
    if issues:
        rules.append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]})
    return [
        (SERVICEACCOUNT, {"metadata": metadata}),
        (ROLE, {"metadata": metadata, "rules": rules}),
        (
            ROLEBINDING,
            {
                "metadata": metadata,
                "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": CERTGEN},
                "subjects": [{"kind": SERVICEACCOUNT.kind, "name": CERTGEN, "namespace": namespace}],
            },
        ),
    ]
