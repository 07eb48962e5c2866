"""Flags that scripts for cilium-dbg give, and identities by their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.dbg.test_dbg import ANSWERS, STATUS, dbg

POOLS = {
    "status": "3/254 allocated from 10.1.1.0/24",
    "allocations": {"fd00:10:1:1::4": "default/web", "10.1.1.10": "default/web", "10.1.1.4": "shop/db"},
}
ALLOCATED = """\
Allocated addresses:
  10.1.1.4 (shop/db)
  10.1.1.10 (default/web)
  fd00:10:1:1::4 (default/web)
"""


@pytest.mark.parametrize("flag", ["--all-addresses", "--verbose"])
async def test_addresses_and_whose_they_are_on_demand(flag: str, tmp_path: Path) -> None:
    answers = {"/v1/healthz": {**STATUS, "ipam": POOLS}}
    assert ALLOCATED in (await dbg(tmp_path, answers, "status", flag)).stdout
    assert "Allocated addresses" not in (await dbg(tmp_path, answers, "status")).stdout


async def test_what_the_agent_has_none_of_changes_nothing(tmp_path: Path) -> None:
    answers = {"/v1/healthz": STATUS}
    plain = await dbg(tmp_path, answers, "status")
    flags = ("--all-controllers", "--all-redirects", "--all-health")
    asked = await dbg(tmp_path, answers, "status", *flags)
    assert (asked.exit_code, asked.stdout) == (0, plain.stdout)


async def test_all_health_names_nodes_that_answer(tmp_path: Path) -> None:
    node = {"name": "west/node-1", "address": "198.18.2.11", "cluster": "west", "withdrawn": ""}
    node |= {"state": "reachable", "milliseconds": 0.31}
    answers = {"/v1/healthz": {**STATUS, "node-health": {"reachable": 1, "nodes": [node]}}}
    result = await dbg(tmp_path, answers, "status", "--all-health")
    assert "   west/node-1 198.18.2.11: reachable, 0.31 ms\n" in result.stdout


async def asked_by_labels(tmp_path: Path, *labels: str) -> tuple[int, Any]:
    flags = [word for label in labels for word in ("--label", label)]
    result = await dbg(tmp_path, ANSWERS, "identity", "get", *flags, "-o", "json")
    return result.exit_code, msgspec.json.decode(result.stdout) if result.stdout else None


async def test_an_identity_is_found_by_exactly_its_labels(tmp_path: Path) -> None:
    both = ("k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=west")
    assert await asked_by_labels(tmp_path, *both) == (0, ANSWERS["/v1/identity"][0])
    assert await asked_by_labels(tmp_path, "k8s:app=web") == (1, None)
    assert await asked_by_labels(tmp_path) == (2, None)


async def test_a_map_of_the_other_family_that_an_agent_lacks_is_no_error(tmp_path: Path) -> None:
    answers = {path: said for path, said in ANSWERS.items() if path != "/v1/map/cilium_lb6_source_range"}
    result = await dbg(tmp_path, answers, "bpf", "lb", "list", "--source-ranges")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == ["192.0.2.0/24 (3)           198.51.100.7:80"]


async def test_of_two_lists_of_one_address_the_inner_one_is_marked(tmp_path: Path) -> None:
    at = {"ip": "203.0.113.7", "port": 80, "protocol": "TCP"}
    told = [{"spec": {"id": 1, "frontend-address": {**at, "scope": s}}} for s in ("internal", "external")]
    result = await dbg(tmp_path, {"/v1/service": told}, "service", "list")
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == [
        "203.0.113.7:80/TCP/i",
        "203.0.113.7:80/TCP",
    ]


async def test_one_view_of_the_balancer_at_a_time(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "lb", "list", "--source-ranges", "--revnat")
    assert result.exit_code == 2
    assert "one of --revnat, --frontends, --backends, --source-ranges at a time" in result.stderr
