"""`enable-policy`: open until a policy says so, closed from the start, or open in any case."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.enforcement import Enforcement
from mesh.policy import EndpointPolicy, PolicyEntry
from tests.mesh.test_policy import CLIENT, FAR, HOST, NEAR, policy, resolved


def meaning(mode: Enforcement, *said: dict[str, Any]) -> EndpointPolicy:
    return resolved(*said, enforcement=mode)


ALLOW = policy(ingress=[{"fromEndpoints": [CLIENT]}])


def test_always_closes_what_no_policy_selects_but_not_to_the_node() -> None:
    assert meaning(Enforcement.ALWAYS) == EndpointPolicy(True, frozenset({HOST}), True)
    assert meaning(Enforcement.DEFAULT) == EndpointPolicy(False)


def test_always_lets_through_what_a_policy_allows_and_closes_the_other_direction() -> None:
    found = meaning(Enforcement.ALWAYS, ALLOW)
    assert found == EndpointPolicy(True, frozenset({HOST, PolicyEntry(NEAR, 0, 0, False)}), True)


@pytest.mark.parametrize("section", ["ingress", "ingressDeny"])
def test_always_is_not_opened_by_a_policy_without_default_deny(section: str) -> None:
    found = meaning(
        Enforcement.ALWAYS,
        policy(**{section: [{"fromEndpoints": [CLIENT]}]}, enableDefaultDeny={"ingress": False}),
    )
    assert found.ingress_enforced
    assert not {entry for entry in found.entries if entry.identity in (0, FAR)}


def test_never_opens_everything_whatever_policies_say() -> None:
    deny = policy(ingressDeny=[{"fromEntities": ["all"]}], egressDeny=[{"toEntities": ["all"]}])
    assert meaning(Enforcement.NEVER, ALLOW, deny) == EndpointPolicy(False)
