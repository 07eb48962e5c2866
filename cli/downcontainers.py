"""Containers of the control plane that do not stay up, and their last words. Pure.

A container that has ended says why only in its log. With `terminationMessagePolicy: FallbackToLogsOnError`
the kubelet keeps the log's end in the pod's status, where one question finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from k8s import objects
from k8s.objects import KubeObject

WORDS_LENGTH = 300  # of a last line; etcd's hold whole requests
# A Go program's last lines are the stack of what failed: the first of these that any line has tells more.
_TELLING = (re.compile(r"no space left on device"), re.compile(r'^panic: |"level":"(fatal|panic)"'))
_PULLING = ("ContainerCreating", "PodInitializing")  # has not run yet


class _Ended(Struct, frozen=True):
    exitCode: int = 0
    reason: str = ""
    message: str = ""


class _Waits(Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _State(Struct, frozen=True):
    running: dict[str, Any] | None = None
    waiting: _Waits | None = None
    terminated: _Ended | None = None


class _Container(Struct, frozen=True):
    name: str = ""
    ready: bool = False
    restartCount: int = 0
    state: _State = _State()
    lastState: _State = _State()


class _Status(Struct, frozen=True):
    containerStatuses: tuple[_Container, ...] = ()


class _Pod(KubeObject, frozen=True):
    status: _Status = _Status()


@dataclass(frozen=True, slots=True)
class Down:
    """A container that is not running. `words`: the last that it said, or its kubelet says of it."""

    pod: str
    container: str
    restarts: int
    words: str

    @property
    def text(self) -> str:
        return f"container {self.container} is not running, started again {self.restarts} times: {self.words}"


def down(pods: Iterable[bytes]) -> list[Down]:
    """Of pods as the API server lists them: every container that ended, or cannot be started."""
    found = (objects.decode(raw, _Pod) for raw in pods)
    return [
        Down(pod.metadata.name, each.name, each.restartCount, words)
        for pod in sorted(found, key=lambda pod: pod.metadata.name)
        if not pod.metadata.is_ending
        for each in pod.status.containerStatuses
        if (words := _words(each))
    ]


def unready(pods: Iterable[bytes]) -> list[str]:
    """The names of containers that run and are not ready: what a Deployment without a ready pod waits for."""
    return sorted(
        {
            each.name
            for raw in pods
            for each in objects.decode(raw, _Pod).status.containerStatuses
            if each.state.running is not None and not each.ready
        }
    )


def _words(container: _Container) -> str:
    """Empty while it runs, or has not been started yet."""
    state = container.state
    if state.running is not None or (state.waiting is None and state.terminated is None):
        return ""
    if state.waiting is not None and state.waiting.reason in _PULLING:
        return ""
    ended = state.terminated or container.lastState.terminated
    if ended is None:
        waits = state.waiting or _Waits()
        return waits.message or waits.reason
    return last_words(ended.message) or f"{ended.reason or 'ended'}, exit status {ended.exitCode}"


class _Logged(Struct):
    """A line of etcd 3.5's log."""

    msg: str = ""
    error: str = ""


def last_words(text: str) -> str:
    """The line of a log's end that says why it ended; empty when there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = (line for pattern in _TELLING for line in reversed(lines) if pattern.search(line))
    line = next(telling, lines[-1] if lines else "")
    try:
        logged = msgspec.json.decode(line, type=_Logged)
    except msgspec.DecodeError:
        return line[:WORDS_LENGTH]
    return ": ".join(filter(None, (logged.msg, logged.error)))[:WORDS_LENGTH]
