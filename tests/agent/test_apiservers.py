"""The entity `kube-apiserver`: the addresses of `default/kubernetes`."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.convert import api_server_addresses
from agent.ipcache import IPCacheEntry, Level, Rank
from k8s.discovery import EndpointSlice
from mesh.policy import parse_policy
from tests.agent.test_policy import policy
from tests.agent.values import NODE, endpoint, tables

ELSEWHERE = "198.18.1.2"
NODE_CLAIM = IPCacheEntry(6, None)


def piece(*addresses: str, name: str = "kubernetes") -> EndpointSlice:
    said: dict[str, Any] = {
        "metadata": {"name": "x", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"addresses": list(addresses)}],
    }
    return msgspec.convert(said, EndpointSlice)


def test_only_kubernetes_own_service_says_where_it_answers() -> None:
    assert api_server_addresses(piece(ELSEWHERE, "fd00::1")) == {ELSEWHERE}
    assert api_server_addresses(piece(ELSEWHERE, name="web")) == frozenset()


def test_an_api_server_on_another_node_has_its_own_identity_while_it_is_one() -> None:
    world = tables()
    world.ipcache.upsert(f"{ELSEWHERE}/32", Rank(Level.LOCAL_NODE, owner="node/x"), NODE_CLAIM)
    world.api_servers.set_slice("a", frozenset({ELSEWHERE}))
    assert world.ipcache.wanted.entries[f"{ELSEWHERE}/32"] == IPCacheEntry(7, None)
    world.api_servers.set_slice("b", frozenset({ELSEWHERE}))
    world.api_servers.set_slice("a", frozenset())
    assert world.ipcache.wanted.entries[f"{ELSEWHERE}/32"].identity == 7
    world.api_servers.set_slice("b", frozenset())
    assert world.ipcache.wanted.entries[f"{ELSEWHERE}/32"] == NODE_CLAIM


def test_an_api_server_on_our_own_node_is_the_host_and_reached_by_either_name() -> None:
    world = tables()
    world.own_listed()
    world.upsert_endpoint(endpoint(1))
    said = policy(egress=[{"toEntities": ["kube-apiserver"]}])
    world.policies.commit({"shop/p": parse_policy(said)})

    def reached() -> set[int]:
        return {key.identity for key in world.policies.entries.entries if key.egress}

    assert reached() == {7}
    world.api_servers.set_slice("a", frozenset({NODE.ip}))
    assert reached() == {1, 7}
    assert f"{NODE.ip}/32" not in world.ipcache.wanted.entries
    world.api_servers.set_slice("a", frozenset())
    assert reached() == {7}
