"""The objects of the mesh in a cluster, as functions of its settings. Pure.

Workloads are in `*manifest.py`, Secrets in `secret.py`, access rules in `rbac.py`, our kinds in `crd.py`.
Names, labels and mount paths are what Cilium's own tools look for, where those have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cli import agentmanifest, apiservermanifest, crd, operatormanifest, rbac, renewal, secret
from cli.settings import (
    CONFIG_MAP,
    MIRRORED_SECRET,
    PEERS_SECRET,
    REVOKED_CONFIG_MAP,
    REVOKED_FILE,
    MeshSettings,
)
from k8s.resource import CONFIGMAP, CRONJOB, DAEMONSET, DEPLOYMENT, PODDISRUPTIONBUDGET, Resource
from k8s.resource import SERVICE as SERVICE_KIND
from peering import rules


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where the API server keeps it. `once`: created if absent, never changed after."""

    resource: Resource
    body: dict[str, Any]
    once: bool = False

    @property
    def name(self) -> str:
        name: str = self.body["metadata"]["name"]
        return name

    @property
    def complete(self) -> dict[str, Any]:
        """With apiVersion and kind, as kubectl reads it."""
        return {"apiVersion": self.resource.api_version, "kind": self.resource.kind, **self.body}


def objects(settings: MeshSettings, secrets: secret.Secrets) -> list[Manifest]:
    """Everything `enable` applies, in an order in which nothing misses what it needs."""
    namespace = settings.namespace
    return [
        *(Manifest(crd.CRD, body, once=True) for body in crd.definitions(mcs_api=settings.mcs_api)),
        Manifest(CONFIGMAP, cluster_config(settings)),
        *(Manifest(secret.SECRET, body) for body in secret.bodies(namespace, secrets)),
        # Its content belongs to `certs revoke`: an empty list, so that the proxy has one to follow.
        Manifest(CONFIGMAP, revoked(settings), once=True),
        # Its content belongs to `apply`: it must be mountable before the first rule.
        Manifest(CONFIGMAP, no_rules(settings), once=True),
        # Their content belongs to `connect`; they must be mountable before the first peer.
        Manifest(secret.SECRET, secret.empty(namespace, PEERS_SECRET), once=True),
        Manifest(secret.SECRET, secret.empty(namespace, MIRRORED_SECRET), once=True),
        *(Manifest(resource, body) for resource, body in rbac.objects(namespace, mcs_api=settings.mcs_api)),
        Manifest(SERVICE_KIND, apiservermanifest.service(settings)),
        Manifest(DEPLOYMENT, apiservermanifest.deployment(settings)),
        Manifest(DAEMONSET, agentmanifest.daemonset(settings)),
        *([Manifest(DEPLOYMENT, operatormanifest.deployment(settings))] if settings.mcs_api else []),
        *(Manifest(PODDISRUPTIONBUDGET, body) for body in apiservermanifest.budgets(settings)),
        *(_renewal(settings) if settings.renews else []),
    ]


def cluster_config(settings: MeshSettings) -> dict[str, Any]:
    """Who this cluster is. Numbers are strings there."""
    data = {
        "cluster-name": settings.cluster_name,
        "cluster-id": str(settings.cluster_id),
        "max-connected-clusters": str(settings.max_connected_clusters),
    }
    return {"metadata": {"name": CONFIG_MAP, "namespace": settings.namespace}, "data": data}


def revoked(settings: MeshSettings) -> dict[str, Any]:
    metadata = {"name": REVOKED_CONFIG_MAP, "namespace": settings.namespace}
    return {"metadata": metadata, "data": {REVOKED_FILE: "revoked: []\n"}}


def no_rules(settings: MeshSettings) -> dict[str, Any]:
    metadata = {"name": rules.CONFIG_MAP, "namespace": settings.namespace}
    return {"metadata": metadata, "data": rules_of_nobody()}


def rules_of_nobody() -> dict[str, str]:
    return {rules.SEE_FILE: rules.render_see(rules.See()), rules.CLAIMS_FILE: rules.render_claims({})}


def _renewal(settings: MeshSettings) -> list[Manifest]:
    access = rbac.certgen(settings.namespace, issues=settings.issues)
    return [
        *(Manifest(resource, body) for resource, body in access),
        Manifest(CRONJOB, renewal.cron_job(settings)),
    ]
