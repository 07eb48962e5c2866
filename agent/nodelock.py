"""Agents and a clean-up keep out of each other's way, whatever directories they were told.

A node is a network namespace. Each of them has a socket there with a name of its kind, in the abstract
namespace, which goes with the process, however that ends. Each takes its own first and then looks for the
other's: two at once may both give way, and never both go on.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import AgentError

RUNNING = "an agent runs on this node"
STOP = "End it first: `clustermesh disable` does so on all nodes of a cluster"
_AGENT, _CLEANUP = "clustermesh-agent/", "clustermesh-cleanup/"
_SOCKETS = Path("/proc/thread-self/net/unix")  # of the network namespace that we are in
_CONNECT_SECONDS = 1.0
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group


class NodeBusyError(AgentError):
    """Somebody else is at work on this node."""


@contextmanager
def held_by_agent() -> Iterator[None]:
    """Held by an agent as long as it lives; several may."""
    with _held(_AGENT):
        if any(map(_is_roots, _names(_CLEANUP))):
            raise NodeBusyError("a clean-up of this node is at work: start again when it has ended")
        yield


@contextmanager
def held_by_cleanup() -> Iterator[None]:
    """Held by whoever cleans up, alone."""
    with _held(_CLEANUP) as own:
        if _names(_AGENT):
            raise NodeBusyError(f"{RUNNING}. {STOP}")
        if any(name != own and _is_roots(name) for name in _names(_CLEANUP)):
            raise NodeBusyError("another clean-up of this node is at work")
        yield


@contextmanager
def _held(kind: str) -> Iterator[str]:
    name = kind + os.urandom(8).hex()
    with socket.socket(socket.AF_UNIX) as held:
        held.bind("\0" + name)
        held.listen()
        yield name


def _names(kind: str) -> list[str]:
    """Of that kind, in this network namespace."""
    words = [line.split() for line in _SOCKETS.read_text(errors="replace").splitlines()]
    return [line[-1][1:] for line in words if line[-1].startswith("@" + kind)]


def _is_roots(name: str) -> bool:
    """Anybody in the node's network may take a name: only a root's keeps an agent from its work."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_SECONDS)
        try:
            client.connect("\0" + name)
        except OSError:
            return False  # it has just ended
        said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(said)
    return bool(user == 0)
