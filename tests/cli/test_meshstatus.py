"""Agents' answers, recorded, and the sum of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cli import agentreport
from cli.facts import Address, ClusterFacts
from cli.lifetime import Lifetime
from cli.meshstatus import PeersView, summed
from cli.statusview import MeshStatus, as_json, as_text
from cli.target import Target

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY = b"""{"cilium":{"state":"Ok","msg":"up"},"cluster-mesh":{"clusters":[{"name":"west","connected":true,
"ready":true,"programmed":true,"status":"etcd: 1/1 connected","config":{"required":true,"retrieved":true,
"cluster-id":2,"sync-canaries":true},"synced":{"nodes":true,"endpoints":true,"identities":true,"services":true},
"num-nodes":2,"num-endpoints":9,"num-identities":4,"num-shared-services":1,"num-failures":1,
"last-failure":"2026-11-23T10:00:00Z","refusals":{"identity out of range":3},"outside-addresses":4,
"digests":{"ip":"77"}}]}}"""
CILIUM = b"""{"cluster-mesh":{"clusters":[{"name":"west","connected":true,"ready":true,"status":"ok",
"config":{"required":true,"retrieved":true,"service-exports-enabled":false},
"synced":{"nodes":true,"endpoints":true,"identities":true,"services":true,"service-exports":null},
"last-failure":"0001-01-01T00:00:00.000Z"}]}}"""
SYNCING = b"""{"cluster-mesh":{"clusters":[{"name":"west","connected":true,"status":"ok",
"config":{"required":true,"retrieved":true},"synced":{"nodes":true,"identities":true},
"last-failure":"0001-01-01T00:00:00Z","programmed":false}]}}"""
DOWN = b"""{"cluster-mesh":{"clusters":[{"name":"west",
"status":"Waiting for initial connection to be established",
"config":{},"synced":{},"last-failure":"0001-01-01T00:00:00Z"}]}}"""
LOST = b"""{"cluster-mesh":{"clusters":[{"name":"west","connected":true,"config":{"required":true}}]}}"""
UNWRITTEN = READY.replace(b'"programmed":true', b'"programmed":false')


def view(body: bytes, pod: str = "agent-1") -> PeersView:
    return PeersView(pod, "node-1", agentreport.peers(body), "", agentreport.warnings(body))


def status(
    *views: PeersView, expected: tuple[str, ...] = ("west",), missing: tuple[str, ...] = ()
) -> MeshStatus:
    facts = ClusterFacts(
        Target(context="east"),
        "east",
        "1",
        service_type="LoadBalancer",
        addresses=(Address("192.0.2.1", 2379),),
    )
    return MeshStatus(facts, missing, summed(views, expected))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (READY, ""),
        (CILIUM, ""),
        (SYNCING, "synchronization in progress for endpoints, services"),
        (DOWN, "Waiting for initial connection to be established"),
        (LOST, "remote cluster configuration required but not found"),
        (UNWRITTEN, "not programmed yet"),
    ],
)
def test_the_reason_is_the_first_thing_that_is_missing(body: bytes, why: str) -> None:
    (peer,) = agentreport.peers(body)
    assert peer.hindrance == why


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"cluster-mesh":{"clusters":[{"ready":"yes"}]}}'])
def test_an_answer_that_is_no_status_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        agentreport.peers(body)


def test_all_is_ready_when_every_agent_has_every_peer() -> None:
    found = status(view(READY), view(READY, "agent-2"))
    assert found.is_ready
    text = as_text(found)
    assert "✅ All 2 nodes are connected to all clusters [min:1 / avg:1.0 / max:1]" in text
    assert (
        "  - west: 2/2 configured, 2/2 connected, 2/2 ready, 2/2 programmed - "
        "2 nodes, 9 endpoints, 4 identities, 1 services, 2 reconnections (last: 2026-11-23T10:00:00Z)"
    ) in text
    assert "    refused 6: identity out of range" in text


@pytest.mark.parametrize("body", [SYNCING, DOWN, LOST, UNWRITTEN])
def test_one_agent_that_is_not_ready_is_named_with_its_reason(body: bytes) -> None:
    found = status(view(READY), view(body, "agent-2"))
    assert not found.is_ready
    text = as_text(found)
    assert "⚠️  1/2 nodes are not connected to all clusters [min:0 / avg:0.5 / max:1]" in text
    assert "❌ agent-2 is not connected to cluster west: " in text


def test_a_peer_that_an_agent_does_not_speak_of_is_not_ready() -> None:
    found = status(view(b'{"cluster-mesh":{"clusters":[]}}'))
    assert not found.is_ready
    assert found.connectivity.errors == {"agent-1": {"west": ["unknown status"]}}


def test_an_agent_that_cannot_be_asked_is_not_ready() -> None:
    found = status(PeersView("agent-1", "node-1", error="no answer within 5 s"))
    assert not found.is_ready
    assert "❌ agent-1 cannot be asked: no answer within 5 s" in as_text(found)


def test_no_agent_at_all_is_not_ready() -> None:
    found = status(expected=())
    assert not found.is_ready
    assert "❌ No agent found" in as_text(found)


def test_a_control_plane_that_is_not_up_is_not_ready() -> None:
    found = status(view(READY), missing=("Deployment clustermesh-apiserver: 0 of 1 ready",))
    assert not found.is_ready
    assert "❌ Deployment clustermesh-apiserver: 0 of 1 ready" in as_text(found)


def test_a_cluster_without_peers_is_ready_and_says_so() -> None:
    found = status(view(b"{}"), expected=())
    assert found.is_ready
    assert "🔌 No cluster connected" in as_text(found)


def test_the_json_has_the_shape_that_scripts_for_cilium_read() -> None:
    found = as_json(status(view(READY), view(DOWN, "agent-2")))
    assert found["access_information"]["service_ips"] == ["192.0.2.1"]
    connectivity = found["connectivity"]
    assert connectivity["connected"] == {"min": 0, "avg": 0.5, "max": 1}
    assert connectivity["total"] == 2
    assert connectivity["not_ready"] == 1
    west = connectivity["clusters"]["west"]
    assert (west["configured"], west["connected"], west["ready"], west["programmed"]) == (2, 1, 1, 1)
    assert west["refusals"] == {"identity out of range": 3}
    assert west["outside_addresses"] == 4
    assert connectivity["errors"]["agent-2"]["west"] == ["Waiting for initial connection to be established"]
    assert found["ready"] is False


def test_an_expired_certificate_is_not_healthy_even_while_connections_stand() -> None:
    found = replace(status(view(READY)), certificates=(Lifetime("server-cert", NOW, timedelta(days=-1)),))
    assert not found.is_ready
    assert "❌ The certificate in Secret server-cert expired" in as_text(found)
    assert as_json(found)["certificates"][0]["days_left"] == -1


def test_what_is_wrong_with_a_node_is_said_and_its_peers_are_ready_none_the_less() -> None:
    port = b'{"health-ports":{"state":"Warning","msg":"port 30123: in use"},"bpf-maps":{"msg":"x"},'
    found = status(view(READY.replace(b"{", port, 1)), view(CILIUM, "agent-2"))
    assert found.is_ready
    assert "⚠️  node-1: port 30123: in use\n" in as_text(found)
    assert as_json(found)["connectivity"]["warnings"] == {"node-1": ["port 30123: in use"]}
    assert "warnings" not in as_json(status(view(READY)))["connectivity"]


def test_what_is_refused_now_is_said_where_the_agent_knows_it() -> None:
    was = READY.replace(b'"refusals":', b'"refused-now":{},"refusals":')
    now = READY.replace(b'"refusals":', b'"refused-now":{"identity out of range":2},"refusals":')
    for body, line in ((READY, "refused 3: identity"), (now, "refused 2: identity"), (was, "")):
        text = as_text(status(view(body)))
        assert (line in text) if line else ("refused" not in text)
        west = as_json(status(view(body)))["connectivity"]["clusters"]["west"]
        assert west["refusals"] == {"identity out of range": 3}
