"""A pod's status says what a real kubelet's would."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lab.manifest import Pod
from lab.node import pod_status
from lab.node.pod_containers import last_words
from lab.node.pod_status import ContainerState, PodFacts

POD = msgspec.convert({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}, Pod)
FACTS = PodFacts("198.18.1.11", "10.1.1.2", started="T0")
RUNNING = ContainerState(pid=7, since="T1", is_ready=True, message="")


def build(facts: PodFacts = FACTS, **states: ContainerState) -> pod_status.Json:
    return pod_status.build(POD, facts, states, [], "T2")


def condition(status: pod_status.Json, kind: str = "Ready") -> pod_status.Json:
    return next(each for each in status["conditions"] if each["type"] == kind)


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    status = build(a=RUNNING, b=RUNNING)
    assert (status["phase"], condition(status)["status"]) == ("Running", "True")
    assert [each["state"] for each in status["containerStatuses"]] == [{"running": {"startedAt": "T1"}}] * 2
    half = build(a=RUNNING, b=ContainerState(pid=8, since="T1"))
    assert (half["phase"], condition(half)["status"]) == ("Running", "False")


def test_a_container_that_failed_keeps_its_last_words_where_it_asks_for_that(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("starting\n" * 300 + "no space left on device\n")
    words = last_words(log, 1, "FallbackToLogsOnError")
    assert words.endswith("starting\nno space left on device\n")
    assert len(words) < 2048
    assert last_words(log, 0, "FallbackToLogsOnError") == last_words(log, 1, "File") == ""
    status = build(a=ContainerState(last_exit=1, last_words=words, waiting="CrashLoopBackOff"), b=RUNNING)
    assert status["containerStatuses"][0]["lastState"]["terminated"]["message"] == words


def test_a_pod_without_a_network_is_pending_and_says_why() -> None:
    facts = PodFacts("198.18.1.11", blocker="NetworkNotReady", message="the agent on node n does not answer")
    status = build(facts)
    assert status["phase"] == "Pending"
    assert status["podIP"] is None
    assert condition(status)["reason"] == "NetworkNotReady"
    assert "does not answer" in condition(status)["message"]


def test_a_crashing_container_shows_its_restarts_and_last_end() -> None:
    crashed = ContainerState(restarts=3, waiting="CrashLoopBackOff", message="ended", last_exit=1)
    (told, _) = build(a=crashed, b=RUNNING)["containerStatuses"]
    assert told["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (told["restartCount"], told["lastState"]["terminated"]["exitCode"]) == (3, 1)


def test_a_pod_that_ran_to_its_end_succeeded_or_failed() -> None:
    done, failed = ContainerState(is_done=True, last_exit=0), ContainerState(is_done=True, last_exit=2)
    assert build(a=done, b=done)["phase"] == "Succeeded"
    assert build(a=done, b=failed)["phase"] == "Failed"
    assert build(a=done, b=RUNNING)["phase"] == "Running"


def test_unchanged_conditions_keep_their_time() -> None:
    old = build(a=RUNNING, b=RUNNING)["conditions"]
    again = pod_status.build(POD, FACTS, {"a": RUNNING, "b": RUNNING}, old, "T9")
    assert {each["lastTransitionTime"] for each in again["conditions"]} == {"T2"}
    changed = pod_status.build(POD, FACTS, {"a": RUNNING}, old, "T9")
    assert condition(changed)["lastTransitionTime"] == "T9"
