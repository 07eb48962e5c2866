"""A pod's status as its kubelet reports it. Pure: facts in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.manifest import Pod

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What is known of one container. `since` belongs to the present state."""

    pid: int = 0  # 0: not running
    since: str = ""
    is_ready: bool = False
    restarts: int = 0
    waiting: str = "ContainerCreating"
    message: str = ""
    last_exit: int | None = None
    last_words: str = ""  # the log's end when it ended in error, if the container asks for that
    is_done: bool = False  # ended for good, as its restart policy says

    @property
    def is_running(self) -> bool:
        return self.pid > 0


@dataclass(frozen=True, slots=True)
class PodFacts:
    node_ip: str
    pod_ips: tuple[str, ...] = ()  # IPv4 first
    started: str = ""
    blocker: str = ""  # a reason word, when the pod cannot start yet
    message: str = ""

    @property
    def pod_ip(self) -> str:
        return self.pod_ips[0] if self.pod_ips else ""


def build(
    pod: Pod, facts: PodFacts, states: Mapping[str, ContainerState], old: Sequence[Json], now: str
) -> Json:
    """The whole status. `old` are the conditions reported last: unchanged ones keep their time."""
    containers = [states.get(each.name, ContainerState()) for each in pod.spec.containers]
    ready = bool(containers) and all(state.is_ready and state.is_running for state in containers)
    begun = any(state.is_running or state.last_exit is not None for state in containers)
    why = facts.message or next((s.message for s in containers if s.message), "")
    reason = facts.blocker or ("" if ready else "ContainersNotReady")
    conditions = [
        condition("PodScheduled", True),
        condition("Initialized", begun),
        condition("ContainersReady", ready, reason, why),
        condition("Ready", ready, reason, why),
    ]
    return {
        "phase": _phase(begun, containers),
        "conditions": [_timed(each, old, now) for each in conditions],
        "hostIP": facts.node_ip,
        "hostIPs": [{"ip": facts.node_ip}],
        "podIP": facts.pod_ip or None,
        "podIPs": [{"ip": ip} for ip in facts.pod_ips] or None,
        "startTime": facts.started,
        "containerStatuses": [
            _container(spec.name, spec.image, state)
            for spec, state in zip(pod.spec.containers, containers, strict=True)
        ],
    }


def _phase(begun: bool, containers: Sequence[ContainerState]) -> str:
    if containers and all(state.is_done for state in containers):
        return "Failed" if any(state.last_exit for state in containers) else "Succeeded"
    return "Running" if begun else "Pending"


def condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Json:
    told: Json = {"type": kind, "status": "True" if holds else "False"}
    if not holds and reason:
        told["reason"] = reason
    if not holds and message:
        told["message"] = message
    return told


def _timed(new: Json, old: Sequence[Json], now: str) -> Json:
    for each in old:
        if each["type"] == new["type"] and each["status"] == new["status"]:
            return {**new, "lastTransitionTime": each["lastTransitionTime"]}
    return {**new, "lastTransitionTime": now}


def _container(name: str, image: str, state: ContainerState) -> Json:
    told: Json = {
        "name": name,
        "image": image,
        "imageID": "",
        "ready": state.is_ready and state.is_running,
        "started": state.is_running,
        "restartCount": state.restarts,
        "state": _state(state),
    }
    if state.is_running:
        told["containerID"] = f"lab://{state.pid}"
    if state.last_exit is not None and not state.is_done:
        told["lastState"] = _terminated(state)
    return told


def _state(state: ContainerState) -> Json:
    if state.is_running:
        return {"running": {"startedAt": state.since}}
    if state.is_done:
        return _terminated(state)
    return {"waiting": {"reason": state.waiting, **({"message": state.message} if state.message else {})}}


def _terminated(state: ContainerState) -> Json:
    code = state.last_exit or 0
    told: Json = {"exitCode": code, "reason": _ended(code)}
    if state.last_words:
        told["message"] = state.last_words
    return {"terminated": told}


def _ended(code: int) -> str:
    return "Completed" if code == 0 else "Error"
