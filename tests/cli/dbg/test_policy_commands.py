"""`monitor` and `bpf policy get`: what an operator reads when a packet does not arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.dbg.test_dbg import dbg

EVENT: dict[str, Any] = {
    "time": "2001-09-09T01:46:41.500+00:00",
    "type": "drop",
    "reason": "policy denied",
    "direction": "ingress",
    "endpoint": 7,
    "source": {"ip": "10.2.1.5", "port": 40000, "identity": 131073, "pod": ""},
    "destination": {"ip": "10.1.1.4", "port": 80, "identity": 65537, "pod": "shop/web-1"},
    "protocol": "TCP",
    "tcp-flags": "SYN",
    "length": 74,
}


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "endpoint": 7,
        "direction": "Ingress",
        "identity": 0,
        "port": 0,
        "last-port": 0,
        "protocol": 0,
        "deny": False,
        **fields,
    }


ANSWERS: dict[str, Any] = {
    "/v1/endpoint/7": {"id": 7},
    "/v1/identity": [{"id": 131073, "labels": ["k8s:app=web"]}],
    "/v1/map/cilium_policy": {
        "entries": [
            entry(),
            entry(identity=131073, port=80, **{"last-port": 80}, protocol=6, direction="Egress"),
            entry(identity=131073, port=1024, **{"last-port": 2047}, protocol=17, deny=True),
            entry(identity=131073, port=264, **{"last-port": 264}, protocol=1),
            entry(endpoint=8, identity=99),
        ]
    },
}


async def test_the_entries_of_one_endpoint_are_shown_with_the_labels_behind_them(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "policy", "get", "7")
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["POLICY", "DIRECTION", "LABELS", "IDENTITY", "PORT/PROTO"],
        ["Allow", "Egress", "k8s:app=web", "131073", "80/TCP"],
        ["Allow", "Ingress", "ANY", "0", "ANY"],
        ["Allow", "Ingress", "k8s:app=web", "131073", "type", "8/ICMP"],
        ["Deny", "Ingress", "k8s:app=web", "131073", "1024-2047/UDP"],
    ]


async def test_the_entries_as_json_are_those_of_the_endpoint(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "policy", "get", "7", "-o", "json")
    assert [each["endpoint"] for each in msgspec.json.decode(result.stdout)] == [7] * 4


async def test_an_endpoint_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "bpf", "policy", "get", "9")
    assert (result.exit_code, "404" in result.output) == (1, True)


LINES = (
    b"\n" + msgspec.json.encode(EVENT) + b"\n\n" + msgspec.json.encode({**EVENT, "type": "trace", "lost": 3})
)


async def test_monitor_shows_a_packet_a_line(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {"/v1/monitor": LINES}, "monitor", "--type", "drop")
    assert result.stdout.splitlines() == [
        "2001-09-09T01:46:41.500+00:00 xx drop (policy denied) ingress endpoint 7, "
        "identity 131073->65537: 10.2.1.5:40000 -> 10.1.1.4:80 (shop/web-1) TCP SYN",
        "2001-09-09T01:46:41.500+00:00 -> forwarded ingress endpoint 7, "
        "identity 131073->65537: 10.2.1.5:40000 -> 10.1.1.4:80 (shop/web-1) TCP SYN "
        "[3 events before this are lost]",
    ]


async def test_monitor_passes_json_on_as_it_came(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {"/v1/monitor": LINES}, "monitor", "-o", "json")
    assert msgspec.json.decode(result.stdout.splitlines()[0]) == EVENT


@pytest.mark.parametrize(("answers", "words"), [({}, "404"), ({"/v1/monitor": b"{}\n"}, "not understood")])
async def test_an_agent_that_cannot_is_said(answers: dict[str, Any], words: str, tmp_path: Path) -> None:
    result = await dbg(tmp_path, answers, "monitor")
    assert result.exit_code == 1
    assert words in result.output
