"""Does a cluster serve, and if not: the first reason that holds, by its name, with what mends it."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from cli.cause import Cause
from cli.check import Check
from cli.serviceverdict import MeshService, Peer, Share, There, Verdict, nodes_using, verdicts, worst
from cli.serviceview import Judged, as_list, as_object, as_text, troubles

OURS, THEIRS = Share("east", 2, 2, 2), Share("west", 2, 2, 2)
WEB = MeshService("shop", "web", exists=True, is_global=True, shared=True, clusters=(OURS, THEIRS))
WEST = Peer("west")
DOWN = Cause("west", Check.PEER_DOWN, "look at west", ("kvstoremesh",))
THERE = There(" --context w", True, True, True, True)


def west(service: MeshService = WEB, peer: Peer = WEST) -> Verdict:
    own, found = verdicts(service, [peer], "east", " --context e")
    assert own.cluster == "east"
    return found


def told(share: Share | None, **changes: object) -> MeshService:
    clusters = (OURS,) if share is None else (OURS, share)
    return replace(WEB, clusters=clusters, **changes)


def test_a_cluster_whose_backends_are_used_serves() -> None:
    assert west().serves
    assert west().note == ""


def test_a_peer_that_is_gone_still_serves_and_is_said_to_be_stale() -> None:
    found = west(peer=Peer("west", [DOWN]))
    assert found.serves
    assert found.note == "as it was last told: peer-down"


CASES = [
    (told(THEIRS, exists=False), Peer("west"), Check.SERVICE_MISSING, "create it here"),
    (told(THEIRS, is_global=False), Peer("west"), Check.SERVICE_NOT_GLOBAL, "kubectl --context e -n shop"),
    (told(THEIRS, node_only=True), Peer("west"), Check.NODE_LOCAL_ONLY, "in east"),
    (told(THEIRS, here=False), Peer("west"), Check.NO_NODE_CHOSEN, "label a node"),
    (told(None), Peer("west"), Check.SERVICE_NOT_GLOBAL, "--destination-context"),
    (told(None), Peer("west", [DOWN]), Check.PEER_DOWN, "look at west"),
    (told(None), Peer("west", [DOWN], there=THERE), Check.PEER_DOWN, "look at west"),
    (told(None), Peer("west", there=There()), Check.SERVICE_MISSING, "create it in west"),
    (
        told(None),
        Peer("west", there=There(" --context w", True)),
        Check.SERVICE_NOT_GLOBAL,
        "kubectl --context w -n shop annotate service web service.cilium.io/global=true --overwrite",
    ),
    (
        told(None),
        Peer("west", there=There(" --context w", True, True)),
        Check.SERVICE_NOT_SHARED,
        "service.cilium.io/shared=true",
    ),
    (
        told(None),
        Peer("west", there=There(" --context w", True, True, True, False)),
        Check.NAMESPACE_NOT_GLOBAL,
        "kubectl --context w annotate namespace shop clustermesh.cilium.io/global=true",
    ),
    (told(None), Peer("west", there=THERE), Check.SYNCING, "again"),
    (told(None), Peer("west", refused=3, there=THERE), Check.CLAIM_REFUSED, "clustermesh status"),
    (told(Share("west")), Peer("west", refused=3), Check.CLAIM_REFUSED, "clustermesh status --context e"),
    (told(Share("west")), Peer("west"), Check.NO_READY_BACKENDS, "in west"),
    (told(Share("west", 2)), Peer("west"), Check.PORTS_DIFFER, "same names"),
    (told(Share("west", 2, 2, 0, 2)), Peer("west"), Check.NODES_SILENT, "4240"),
    (told(Share("west", 2, 2, 0, 0, 2)), Peer("west"), Check.SYNCING, "again"),
    (
        told(Share("west", 2, 2), preference="affinity local"),
        Peer("west"),
        Check.SERVICE_PREFERENCE,
        "annotations",
    ),
]


@pytest.mark.parametrize(
    ("service", "peer", "check", "mend"), CASES, ids=lambda value: getattr(value, "label", "")
)
def test_the_reason_has_a_name_and_something_that_mends_it(
    service: MeshService, peer: Peer, check: Check, mend: str
) -> None:
    found = west(service, peer)
    assert found.check is check
    assert found.reason
    assert mend in found.mend


def test_our_own_cluster_is_judged_too() -> None:
    absent, _ = verdicts(told(THEIRS, exists=False), [Peer("west")], "east", "")
    assert absent.check is Check.SERVICE_MISSING
    empty = replace(WEB, clusters=(Share("east"), THEIRS))
    assert verdicts(empty, [], "east", "")[0].check is Check.NO_READY_BACKENDS
    unused = replace(WEB, clusters=(Share("east", 2, 2), THEIRS), preference="affinity remote")
    assert verdicts(unused, [], "east", "")[0].check is Check.SERVICE_PREFERENCE


def test_of_several_agents_the_one_that_uses_least_counts() -> None:
    other = replace(WEB, clusters=(OURS, Share("west", 2, 2, 0, 2)))
    assert worst([WEB, other]).clusters[1].used == 0
    assert nodes_using([WEB, other]) == {"east": 2, "west": 1}


def test_agents_of_nodes_that_a_service_is_not_for_have_no_word_unless_there_are_no_others() -> None:
    unused = replace(WEB, here=False, clusters=(Share("east", 2, 2), Share("west", 2, 2)))
    assert worst([unused, WEB]) == WEB
    assert verdicts(worst([unused, unused]), [], "east", "")[0].check is Check.NO_NODE_CHOSEN


def judged(service: MeshService, *peers: Peer) -> Judged:
    return Judged(service, verdicts(service, peers, "east", ""), nodes_using([service]), 1)


def test_a_service_is_shown_with_a_line_a_cluster_and_what_mends_it() -> None:
    text = as_text(judged(told(Share("west")), Peer("west")))
    assert text.startswith("shop/web in east: global, shared\n")
    assert "west     no      0         0     0/1    no pod in west is ready" in text
    assert "🩺 west: in west: kubectl" in text
    assert "no such Service" in as_text(judged(told(THEIRS, exists=False), Peer("west")))


def test_the_list_names_who_serves_and_what_is_in_the_way() -> None:
    text = as_list([judged(WEB, Peer("west")), judged(told(Share("west")), Peer("west"))])
    lines = [line.split("  ") for line in text.splitlines()]
    assert "east 2, west 2" in text
    assert lines[2][-1] == "west: no-ready-backends"
    assert as_list([]) == "No service is global here, and no peer shares one\n"


def test_a_preference_and_a_peer_without_the_service_are_no_trouble() -> None:
    preferred = told(Share("west", 2, 2), preference="affinity local")
    assert troubles(judged(preferred, Peer("west"), Peer("north"))) == []


def test_the_object_says_all_of_it() -> None:
    found = as_object(judged(told(Share("west")), Peer("west")))
    assert found["served"] is True
    assert msgspec.json.decode(msgspec.json.encode(found))["clusters"][1]["check"] == "no-ready-backends"
