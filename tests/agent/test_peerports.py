"""What pods call their ports, gathered by identity."""

from __future__ import annotations

from agent.policygroup import PolicyKey
from mesh.policy import parse_policy
from mesh.service import Port
from tests.agent.test_policy import policy
from tests.agent.values import endpoint, labels, number, tables

WEST_CLIENT = number(2, 5)
BY_NAME = {
    "toEntities": ["cluster-mesh"],
    "toPorts": [{"ports": [{"port": "http", "protocol": "TCP"}]}],
}


def test_a_name_in_an_egress_policy_follows_the_pods_that_have_it() -> None:
    world = tables()
    world.own_listed()
    world.identities.commit({WEST_CLIENT: labels("client", "west")})
    world.policies.commit({"shop/p": parse_policy(policy(egress=[BY_NAME]))})
    world.upsert_endpoint(endpoint(1))
    wanted = world.policies.entries.entries

    def ports() -> set[int]:
        return {key.port for key in wanted if key.egress and key.identity == WEST_CLIENT}

    assert ports() == set()
    world.peer_ports.claim("a", WEST_CLIENT, {"http": (Port("TCP", 80),)})
    world.peer_ports.claim("b", WEST_CLIENT, {"http": (Port("TCP", 8080),), "dns": (Port("UDP", 53),)})
    assert ports() == {80, 8080}
    world.peer_ports.claim("a", 0, {})
    assert ports() == {8080}
    world.peer_ports.claim("b", number(2, 6), {"http": (Port("TCP", 8080),)})
    assert ports() == set()
    assert world.peer_ports.all.keys() == {number(2, 6)}


def test_a_name_in_an_ingress_policy_is_the_endpoint_s_own() -> None:
    world = tables()
    world.own_listed()
    by_name = [{"fromEntities": ["all"], "toPorts": BY_NAME["toPorts"]}]
    world.policies.commit({"shop/p": parse_policy(policy(ingress=by_name))})
    world.upsert_endpoint(endpoint(1, named_ports=(("http", "TCP", 8080),)))
    world.upsert_endpoint(endpoint(2, named_ports=(("http", "TCP", 9090), ("http", "TCP", 9091))))
    world.upsert_endpoint(endpoint(3))
    opened = {(key.endpoint, key.port) for key in world.policies.entries.entries if not key.identity}
    assert opened == {(1, 8080), (2, 9090), (2, 9091)}
    world.upsert_endpoint(endpoint(1))
    assert PolicyKey(1, 0, 8080, 6) not in world.policies.entries.entries
