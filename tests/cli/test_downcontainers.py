"""What has ended in a control plane is named, with its last words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cli import cause
from cli.check import Check
from cli.downcontainers import WORDS_LENGTH, Down, down, last_words, unready
from cli.meshstatus import Connectivity

# Recorded: an etcd of 3.4 on a full disk; the first lines are those of its start.
ETCD_34 = """\
2026-11-27 02:23:53.004101 I | etcdserver/api: enabled capabilities for version 3.4
2026-11-27 02:23:53.008839 C | mvcc/backend: cannot commit tx (write /var/lib/cilium/etcd/member/snap/db: \
no space left on device)
"""
ETCD_35 = (
    '{"level":"fatal","ts":"2026-11-27T02:23:53.008Z","caller":"backend/batch_tx.go:240","msg":"failed to '
    'commit tx","error":"write /var/lib/cilium/etcd/member/snap/db: no space left on device"}\n'
    "goroutine 1 [running]:\ngo.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2\n\tetcdmain/etcd.go:196\n"
)
RUNNING = {"running": {"startedAt": "2026-11-27T02:23:53Z"}}


def pod(name: str, *containers: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"metadata": {"name": name}, "status": {"containerStatuses": containers}})


def ended(message: str = "", code: int = 1) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Error", "message": message}}


def crashing(message: str) -> dict[str, Any]:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}}
    return {"name": "etcd", "restartCount": 6, "state": waiting, "lastState": ended(message)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ETCD_34, ETCD_34.splitlines()[-1]),
        (
            ETCD_35,
            "failed to commit tx: write /var/lib/cilium/etcd/member/snap/db: no space left on device",
        ),
        ("panic: x\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: x"),
        ("Traceback\n  File x\nOSError: [Errno 28] No space\n", "OSError: [Errno 28] No space"),
        ("x" * 5000, "x" * WORDS_LENGTH),
        (" \n", ""),
    ],
)
def test_the_line_that_tells_why_is_found(text: str, words: str) -> None:
    assert last_words(text) == words


def test_a_container_that_ended_is_named_with_its_last_words() -> None:
    assert down([pod("a", crashing(ETCD_34), {"name": "proxy", "ready": True, "state": RUNNING})]) == [
        Down("a", "etcd", 6, ETCD_34.splitlines()[-1])
    ]


def test_what_never_ran_says_what_its_kubelet_says() -> None:
    waits = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    begins = {"waiting": {"reason": "ContainerCreating"}}
    containers = ({"name": "etcd", "state": waits}, {"name": "proxy", "state": begins}, {"name": "x"})
    assert [(each.container, each.words) for each in down([pod("a", *containers)])] == [
        ("etcd", "no such image")
    ]


def test_one_that_said_nothing_has_its_exit_status() -> None:
    (found,) = down([pod("a", {"name": "proxy", "state": ended(code=137)})])
    assert found.words == "Error, exit status 137"


def test_a_container_that_runs_is_not_down_whatever_it_did_before_but_may_be_unready() -> None:
    again = {"name": "proxy", "restartCount": 3, "state": RUNNING, "lastState": ended("panic: x")}
    pods = [pod("a", again, {"name": "etcd", "ready": True, "state": RUNNING})]
    assert down(pods) == []
    assert unready(pods) == ["proxy"]


def test_a_pod_that_is_being_deleted_says_nothing() -> None:
    raw = msgspec.json.decode(pod("a", crashing(ETCD_34)))
    raw["metadata"]["deletionTimestamp"] = "2026-11-27T02:23:53Z"
    assert down([msgspec.json.encode(raw)]) == []


def test_a_full_disk_and_another_end_have_each_their_name() -> None:
    full, broken = Down("a", "etcd", 6, ETCD_34), Down("b", "proxy", 2, "panic: x")
    disk, other = cause.stopped("west", [full, broken], {"a": "refused"})
    assert (disk.peer, disk.check, disk.readers) == ("west", Check.STORE_DISK, ("a",))
    assert (other.check, other.readers) == (Check.CONTROL_PLANE_DOWN, ("b",))
    assert "container proxy is not running, started again 2 times: panic: x" in other.mend


def test_an_exporter_whose_etcd_is_silent_is_named_in_its_own_words() -> None:
    (found,) = cause.stopped("west", [], {"a": "DEADLINE_EXCEEDED"})
    assert found.check is Check.CONTROL_PLANE_DOWN
    assert "DEADLINE_EXCEEDED (a)" in found.mend


REFUSED = "etcd: 0/1 connected: clustermesh-apiserver.kube-system.svc:2379: Connection refused"
EXPIRED = "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"


def test_what_agents_cannot_reach_is_their_own_control_plane_where_they_read_copies() -> None:
    agents = Connectivity(1, 1, [], [], {"agent-1": {"east": [REFUSED]}})
    (found,) = cause.causes([agents], "", "west", {"east"})
    assert (found.peer, found.check) == ("west", Check.CONTROL_PLANE_DOWN)
    (direct,) = cause.causes([agents], "", "west")
    assert (direct.peer, direct.check) == ("east", Check.PEER_DOWN)


def test_kvstoremesh_s_trouble_is_the_peer_s_own() -> None:
    mirror = Connectivity(1, 1, [], [], {"mesh-1": {"east": [REFUSED]}})
    agents = Connectivity(1, 1, [], [], {"agent-1": {"east": [EXPIRED]}})
    own, peer = sorted(
        cause.causes([agents, mirror], "", "west", {"east"}),
        key=lambda each: -len(each.peer + each.check.label),
    )
    assert (own.peer, own.check, own.mend) == (
        "west",
        Check.SERVER_CERTIFICATE_EXPIRED,
        "in west, run 'clustermesh certs renew'",
    )
    assert (peer.peer, peer.check) == ("east", Check.PEER_DOWN)
