"""Which IP families a Service has addresses of, as Kubernetes decides it. Pure.

The fields are filled in from each other: a policy from two families or two addresses, the families from the
addresses, then the cluster's own order (IPv4 first). An update may add a second family and give it up again;
the first one stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.api.status import invalid

IPV4, IPV6 = "IPv4", "IPv6"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
HEADLESS = "None"

Json = Mapping[str, Any]


def family(address: str) -> str:
    return IPV6 if ":" in address else IPV4


def decide(name: str, spec: Json, before: Json, available: Sequence[str]) -> tuple[str, list[str]]:
    """The Service's policy and its families. `before`: the stored spec; `available`: the cluster's families,
    its first one first. Raises StatusError for what this cluster cannot give."""
    families = _asked(spec)
    policy = spec.get("ipFamilyPolicy") or (REQUIRE if len(families) > 1 else SINGLE)
    if policy not in (SINGLE, PREFER, REQUIRE):
        raise _wrong(name, "ipFamilyPolicy", policy, f"must be one of {SINGLE}, {PREFER}, {REQUIRE}")
    if policy == REQUIRE and len(available) < 2:
        raise _wrong(name, "ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
    for each in families:
        if each not in available:
            raise _wrong(name, "ipFamilies", each, f"not configured on this cluster: it has {available}")
    first = (families or before.get("ipFamilies") or available)[0]
    if before.get("ipFamilies") and first != before["ipFamilies"][0]:
        raise _wrong(name, "ipFamilies", first, "the primary family is immutable")
    others = [each for each in available if each != first]
    if policy == SINGLE:
        if len(families) > 1 and len(before.get("ipFamilies") or ()) < 2:
            raise _wrong(
                name, "ipFamilyPolicy", policy, "must be a dual-stack policy when there are two families"
            )
        others = []
    return policy, [first, *others]


def _asked(spec: Json) -> list[str]:
    """What families and addresses say together, each once."""
    named = [*(spec.get("clusterIPs") or ()), spec.get("clusterIP") or ""]
    addresses = [address for address in named if address not in ("", HEADLESS)]
    return list(dict.fromkeys([*(spec.get("ipFamilies") or ()), *map(family, addresses)]))


def _wrong(name: str, field: str, value: object, why: str) -> Exception:
    return invalid("Service", name, f"spec.{field}", f'Invalid value: "{value}": {why}')
