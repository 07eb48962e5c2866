"""Which kinds of objects we talk about and where an API server keeps them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind at one version. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of one object, or of a subresource of it.

        A namespaced collection without a namespace is the one across all namespaces.
        """
        parts = ["/apis", self.group] if self.group else ["/api"]
        parts.append(self.version)
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=":"))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


POD = Resource("", "v1", "pods", "Pod", True)
NODE = Resource("", "v1", "nodes", "Node", False)
NAMESPACE = Resource("", "v1", "namespaces", "Namespace", False)
SERVICE = Resource("", "v1", "services", "Service", True)
SECRET = Resource("", "v1", "secrets", "Secret", True)
CONFIGMAP = Resource("", "v1", "configmaps", "ConfigMap", True)
SERVICEACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount", True)
EVENT = Resource("", "v1", "events", "Event", True)
ENDPOINTSLICE = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment", True)
DAEMONSET = Resource("apps", "v1", "daemonsets", "DaemonSet", True)
REPLICASET = Resource("apps", "v1", "replicasets", "ReplicaSet", True)
STATEFULSET = Resource("apps", "v1", "statefulsets", "StatefulSet", True)
JOB = Resource("batch", "v1", "jobs", "Job", True)
CRONJOB = Resource("batch", "v1", "cronjobs", "CronJob", True)
ROLE = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", True)
ROLEBINDING = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", True)
CLUSTERROLE = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False)
CLUSTERROLEBINDING = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False
)
CRD = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)
CILIUMNODE = Resource("cilium.io", "v2", "ciliumnodes", "CiliumNode", False)
CILIUMIDENTITY = Resource("cilium.io", "v2", "ciliumidentities", "CiliumIdentity", False)
CILIUMENDPOINT = Resource("cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint", True)
CILIUMENDPOINTSLICE = Resource("cilium.io", "v2alpha1", "ciliumendpointslices", "CiliumEndpointSlice", False)
CILIUMNETWORKPOLICY = Resource("cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", True)
CILIUMCLUSTERWIDENETWORKPOLICY = Resource(
    "cilium.io", "v2", "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", False
)
PODDISRUPTIONBUDGET = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True)
NETWORKPOLICY = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True)
SERVICEEXPORT = Resource("multicluster.x-k8s.io", "v1beta1", "serviceexports", "ServiceExport", True)
SERVICEIMPORT = Resource("multicluster.x-k8s.io", "v1beta1", "serviceimports", "ServiceImport", True)
