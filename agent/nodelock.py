"""Agents and a clean-up keep out of each other's way: a lock on the directory of the agent's state.

An agent shares it as long as it lives; a clean-up has it alone. It goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import AgentError

RUNNING = "an agent runs on this node"
STOP = "End it first: `clustermesh disable` does so on all nodes of a cluster"
_ATTEMPTS = 10  # the directory may be removed between opening and locking it: by a clean-up that ends


class NodeBusyError(AgentError):
    """Somebody else is at work on this node."""


@contextmanager
def shared(directory: Path) -> Iterator[None]:
    """Held by an agent."""
    refusal = f"a clean-up of this node is at work: it holds {directory}; start again when it has ended"
    with _locked(directory, fcntl.LOCK_SH, refusal):
        yield


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Held by whoever cleans up."""
    refusal = f"{RUNNING} (or another clean-up): it holds {directory}. {STOP}"
    with _locked(directory, fcntl.LOCK_EX, refusal):
        yield


@contextmanager
def _locked(directory: Path, how: int, refusal: str) -> Iterator[None]:
    handle = _opened(directory, how, refusal)
    try:
        yield
    finally:
        os.close(handle)


def _opened(directory: Path, how: int, refusal: str) -> int:
    for _ in range(_ATTEMPTS):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            if _is_there(handle, directory):
                return handle
        except BlockingIOError as error:
            os.close(handle)
            raise NodeBusyError(refusal) from error
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise NodeBusyError(refusal)


def _is_there(handle: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), directory.stat())
    except FileNotFoundError:
        return False
