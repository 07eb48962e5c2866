"""Every field of the chart's objects is one that Kubernetes has: the official client's models know all."""

from __future__ import annotations

import json

import pytest

from tests.charts.conftest import Body, Render
from tests.charts.test_chart import EVERYTHING

MODELS = {
    "ClusterRole": "V1ClusterRole",
    "ClusterRoleBinding": "V1ClusterRoleBinding",
    "ConfigMap": "V1ConfigMap",
    "CronJob": "V1CronJob",
    "CustomResourceDefinition": "V1CustomResourceDefinition",
    "DaemonSet": "V1DaemonSet",
    "Deployment": "V1Deployment",
    "Job": "V1Job",
    "NetworkPolicy": "V1NetworkPolicy",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "Secret": "V1Secret",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
}
OTHERS = {"ServiceMonitor", "PrometheusRule", "Certificate"}  # of operators that have their own definitions
MORE: Body = {
    "imagePullSecrets": [{"name": "pull"}],
    "image": {"pullPolicy": "Always"},
    "etcd": {"resources": {"requests": {"cpu": "100m"}}, "image": {"pullPolicy": "IfNotPresent"}},
    "agent": {"priorityClassName": "system-node-critical", "podAnnotations": {"a": "b"}},
    "apiserver": {
        "replicas": 2,
        "priorityClassName": "high",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "proxy": {"resources": {"limits": {"memory": "1Gi"}}},
        "service": {
            "type": "LoadBalancer",
            "nodePort": 32379,
            "loadBalancerClass": "internal",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "externalTrafficPolicy": "Local",
        },
    },
    "tls": {"server": {"extraDnsNames": ["a.example.org"], "extraIpAddresses": ["192.0.2.9"]}},
}


@pytest.mark.parametrize(
    "values", [EVERYTHING, {**EVERYTHING, **MORE}, {"tls": {"auto": {"method": "helm"}}}]
)
def test_nothing_is_written_that_kubernetes_would_not_read(render: Render, values: Body) -> None:
    import kubernetes.client

    client = kubernetes.client.ApiClient()
    found = render(values)
    assert len(found) > 10
    for (kind, name), body in found.items():
        if kind in OTHERS:
            continue
        read = client.deserialize(json.dumps(body), MODELS[kind], "application/json")
        assert client.sanitize_for_serialization(read) == body, (kind, name)
