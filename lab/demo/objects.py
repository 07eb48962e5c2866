"""The Kubernetes objects of the demo and of the end-to-end tests. Pure: settings in, objects out."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

ECHO_IMAGE = "clustermesh.io/lab-echo"
SLEEP_IMAGE = "clustermesh.io/lab-sleep"
ECHO_PORT = 8080
NAMESPACE = "default"


def deployment(name: str, *, replicas: int, image: str = ECHO_IMAGE) -> Object:
    """`replicas` pods labelled app=<name>; the echo server answers HTTP on ECHO_PORT, named http."""
    container: Object = {"name": name, "image": image}
    if image == ECHO_IMAGE:
        container["ports"] = [{"name": "http", "containerPort": ECHO_PORT, "protocol": "TCP"}]
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def service(name: str, *, annotations: dict[str, str] | None = None) -> Object:
    """Port 80 of pods labelled app=<name>; global unless other annotations are given."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {"service.cilium.io/global": "true"} if annotations is None else annotations,
        },
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def deny_policy(name: str, *, protects: str, app: str, cluster: str) -> Object:
    """Pods labelled app=<protects> take everything but what comes from `cluster`'s app=<app>."""
    denied = {"app": app, "io.cilium.k8s.policy.cluster": cluster}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": protects}},
            "ingress": [{"fromEntities": ["all"]}],
            "ingressDeny": [{"fromEndpoints": [{"matchLabels": denied}]}],
        },
    }
