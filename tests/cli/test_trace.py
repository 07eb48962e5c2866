"""`trace`: what may be asked, and the answer as a ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cli import tracetext
from cli.sourcepod import choose
from cli.tracedestination import parse
from k8s.core import Pod
from k8s.objects import ObjectMeta
from tests.cli.conftest import Clusters
from tests.cli.dbg.test_dbg import dbg

ALLOWED = {"verdict": "allowed", "reason": "no policy selects it", "rules": {}}
DENIED = {"verdict": "denied", "reason": "denied by shop/p", "rules": {"shop/p": "denied"}}
PATH: dict[str, Any] = {
    "address": "10.2.1.5",
    "port": 8080,
    "protocol": 6,
    "prefix": "10.2.1.5/32",
    "told-by": "cluster west",
    "identity": 131079,
    "labels": ["k8s:app=web"],
    "egress": ALLOWED,
    "delivery": {"way": "tunnel", "node": "198.18.2.11", "node-name": "west/node-1", "vni": 65537},
    "ingress": {**DENIED, "decided-by": "node node-1"},
}
FOUND: dict[str, Any] = {
    "source": {
        "endpoint": 3,
        "pod": "shop/client",
        "ip": "10.1.1.4",
        "identity": 65537,
        "labels": ["k8s:app=client", "k8s:io.cilium.k8s.namespace.labels.team=a"],
    },
    "service": {
        "name": "shop/web",
        "frontend": "172.20.1.5:80/TCP",
        "global": True,
        "shared": True,
        "affinity": "none",
        "cluster-preference": None,
        "weights": {"west": 2},
        "problems": [],
        "candidates": [
            {
                "cluster": "west",
                "ip": "10.2.1.5",
                "port": 8080,
                "chosen": True,
                "reason": "serves",
                "weight": 2,
            },
            {"cluster": "east", "ip": "10.1.1.9", "port": 0, "chosen": False, "reason": "-", "weight": 0},
        ],
    },
    "paths": [PATH],
    "paths-left-out": 0,
    "differences": ["cilium_lxc does not have it"],
    "verdict": "denied",
}
LADDER = """\
from shop/client (endpoint 3, 10.1.1.4), identity 65537 [k8s:app=client]
  service shop/web at 172.20.1.5:80/TCP: global, shared, affinity none, weights west=2
        BACKEND         CLUSTER   WHY
    +   10.2.1.5:8080   west      serves, share 2
    -   10.1.1.9        east      -
  to 10.2.1.5:8080/TCP
    identity  131079 [k8s:app=web]: 10.2.1.5/32 as told by cluster west
    egress    allowed: no policy selects it
    delivery  tunnel to 198.18.2.11 (west/node-1), VNI 65537
    ingress   denied by shop/p (decided by node node-1)
kernel
  DIFFERS  cilium_lxc does not have it
verdict: denied
"""


def test_the_answer_is_a_ladder() -> None:
    assert tracetext.as_text(FOUND) == LADDER
    assert not tracetext.is_well(FOUND)


@pytest.mark.parametrize(
    ("egress", "ingress", "wanted"),
    [
        (ALLOWED, ALLOWED, "allowed"),
        (DENIED, ALLOWED, "denied"),
        (None, ALLOWED, "allowed"),
        (ALLOWED, {"verdict": "unknown"}, "unknown"),
        (DENIED, {"verdict": "unknown"}, "denied"),
    ],
)
def test_the_verdict_is_the_worst_of_all(egress: Any, ingress: Any, wanted: str) -> None:
    fine = {"egress": ALLOWED, "ingress": ALLOWED}
    assert tracetext.verdict([fine, {"egress": egress, "ingress": ingress}]) == wanted


def test_without_a_way_there_is_no_verdict() -> None:
    assert tracetext.verdict([]) == "no backend"


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("web:80", "web", 80),
        ("shop/web:8080", "shop/web", 8080),
        ("10.2.1.5:53", "10.2.1.5", 53),
        ("[fd00::1]:80", "fd00::1", 80),
    ],
)
def test_a_destination_is_a_name_and_a_port(text: str, name: str, port: int) -> None:
    assert (parse(text).name, parse(text).port) == (name, port)
    assert parse(text).text == text


@pytest.mark.parametrize("text", ["web", ":80", "web:", "web:0", "web:65536", "web:http", "web:9999999"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not DST:PORT"):
        parse(text)


async def test_the_agents_client_shows_the_ladder_and_its_status(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {"/v1/trace": FOUND}, "trace", "shop/client", "web:80")
    assert (result.exit_code, result.stdout) == (1, LADDER)
    fine = {**FOUND, "verdict": "allowed", "differences": []}
    result = await dbg(tmp_path, {"/v1/trace": fine}, "trace", "shop/client", "web:80")
    assert result.exit_code == 0
    assert result.stdout.endswith("kernel: as wanted\nverdict: allowed\n")
    result = await dbg(tmp_path, {}, "trace", "shop/client", "web")
    assert (result.exit_code, "is not DST:PORT" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("names", "asked", "meant"),
    [
        (["web-5e9-aa", "web"], "web", "web"),
        (["web-5e9-bb", "web-5e9-aa"], "web", "web-5e9-aa"),
        (["web-0"], "web", "web-0"),
        (["web-api-5e9-aa", "webby-5e9-aa"], "web", None),
        ([], "web", None),
    ],
)
def test_a_deployments_name_stands_for_its_first_pod(names: list[str], asked: str, meant: str | None) -> None:
    pods = [Pod(metadata=ObjectMeta(name=name)) for name in names]
    found = choose(pods, asked)
    assert (found.metadata.name if found else None) == meant


def test_a_pod_that_has_a_node_goes_first_and_one_that_ends_is_not_meant() -> None:
    ending = Pod(metadata=ObjectMeta(name="web-1-a", deletionTimestamp="2026-01-01T00:00:00Z"))
    waiting, running = Pod(metadata=ObjectMeta(name="web-1-b")), Pod(metadata=ObjectMeta(name="web-1-c"))
    running = structs.replace(running, spec=structs.replace(running.spec, nodeName="node-1"))
    assert choose([ending, waiting, running], "web") is running
    assert choose([ending], "web") is None


async def test_a_pod_that_is_not_there_is_said(clusters: Clusters) -> None:
    result = await clusters.run("trace", "shop/nobody", "web:80")
    assert result.exit_code == 1
    assert result.stderr == "error: there is no pod shop/nobody, and none of a Deployment of that name\n"
