"""`bpf ipcache get` and `match`: one address's entry, and the addresses of some labels."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.dbg.ipcache import longest
from tests.cli.dbg.test_dbg import dbg


def entry(key: str, identity: int) -> dict[str, Any]:
    return {"key": key, "identity": identity, "value": f"identity={identity}"}


ANSWERS: dict[str, Any] = {
    "/v1/map/cilium_ipcache_v2": {
        "entries": [
            entry("10.2.0.0/16", 131080),
            entry("10.2.1.5/32", 131079),
            entry("fd00::5/128", 131079),
            entry("198.18.1.11/32", 1),
        ]
    },
    "/v1/identity": [
        {"id": 1, "labels": ["reserved:host="]},
        {"id": 131079, "labels": ["k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=west"]},
        {"id": 131080, "labels": ["k8s:app=web"]},
    ],
}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("10.2.1.5", "10.2.1.5 maps to 10.2.1.5/32 identity=131079"),
        ("10.2.1.6", "10.2.1.6 maps to 10.2.0.0/16 identity=131080"),
        ("FD00:0::5", "FD00:0::5 maps to fd00::5/128 identity=131079"),
    ],
)
async def test_the_longest_prefix_around_an_address_is_shown(
    tmp_path: Path, address: str, shown: str
) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "ipcache", "get", address)
    assert (result.exit_code, result.stdout.strip()) == (0, shown)


async def test_an_address_without_entry_and_what_is_no_address_are_said(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "ipcache", "get", "192.0.2.1")
    assert (result.exit_code, "no entry of the ipcache is around 192.0.2.1" in result.stderr) == (1, True)
    result = await dbg(tmp_path, ANSWERS, "bpf", "ipcache", "get", "web")
    assert (result.exit_code, "'web' is not an IP address" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (["k8s:app=web"], ["10.2.0.0/16", "10.2.1.5/32", "fd00::5/128"]),
        (["k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=west"], ["10.2.1.5/32", "fd00::5/128"]),
        (["reserved:host"], ["198.18.1.11/32"]),
        (["k8s:app=api"], []),
    ],
)
async def test_every_label_must_be_there(tmp_path: Path, labels: list[str], keys: list[str]) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "ipcache", "match", *labels)
    assert result.exit_code == (0 if keys else 1)
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == keys


@given(st.sets(st.integers(0, 32)), st.ip_addresses(v=4))
def test_of_prefixes_around_each_other_the_innermost_counts(sizes: set[int], address: Any) -> None:
    entries = [entry(str(IPv4Network(f"{address}/{size}", strict=False)), size) for size in sizes]
    found = longest(entries, str(address))
    assert (found["identity"] if found else None) == (max(sizes) if sizes else None)


async def test_the_agents_own_words_are_shown(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {}, "endpoint", "get", "7")
    assert result.exit_code == 1
    assert result.stderr == "error: the agent answered 404: nothing there\n"
