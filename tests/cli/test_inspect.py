"""Which policies hang on policy-default-local-cluster, as the API server has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k8s.resource import CILIUMNETWORKPOLICY, NAMESPACE, NETWORKPOLICY
from mesh.network_policy import parse_network_policy
from mesh.policy import parse_policy
from tests.cli.conftest import Clusters

CLUSTER = "io.cilium.k8s.policy.cluster"


def policy(*peers: dict[str, Any], side: str = "ingress", key: str = "fromEndpoints") -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "web"}}, side: [{key: list(peers)}]},
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (policy({"matchLabels": {"app": "client"}}), True),
        (policy({}), True),
        (policy({"matchLabels": {"app": "client", CLUSTER: "west"}}), False),
        (policy({"matchExpressions": [{"key": CLUSTER, "operator": "Exists"}]}), False),
        (policy({"matchLabels": {"reserved:host": ""}}), False),
        (policy({"matchLabels": {"app": "db"}}, side="egressDeny", key="toEndpoints"), True),
        (
            {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"endpointSelector": {}, "ingress": []}},
            False,
        ),
    ],
)
def test_a_selector_of_peers_without_a_cluster_hangs_on_it(body: dict[str, Any], expected: bool) -> None:
    assert parse_policy(body).hangs_on_default_cluster is expected


def test_kubernetes_own_policies_too() -> None:
    body: dict[str, Any] = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"podSelector": {}}}
    assert not parse_network_policy(body).hangs_on_default_cluster
    body["spec"]["ingress"] = [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]
    assert parse_network_policy(body).hangs_on_default_cluster


async def test_the_command_asks_the_api_server(clusters: Clusters) -> None:
    await clusters.enable()
    for name in ("shop", "other"):
        await clusters.client("east").apply(NAMESPACE, {"metadata": {"name": name}})
    body = policy({"matchLabels": {"app": "client"}})
    await clusters.client("east").apply(CILIUMNETWORKPOLICY, body)
    plain = {"metadata": {"name": "q", "namespace": "other"}, "spec": {"podSelector": {}}}
    await clusters.client("east").apply(NETWORKPOLICY, plain)
    words = ("inspect-policy-default-local-cluster", "--context", "east")
    done = await clusters.run(*words, "-A", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "ciliumNetworkPolicies": {"shop/p": True},
        "ciliumClusterWideNetworkPolicies": {},
        "networkPolicies": {"other/q": False},
    }
    done = await clusters.run(*words, "-n", "shop")
    assert done.stdout.splitlines() == [
        "⚠️  CiliumNetworkPolicy 0/1",
        "  ⚠️  shop/p",
        "✅ CiliumClusterwideNetworkPolicy 0/0",
        "✅ NetworkPolicy 0/0",
    ]
