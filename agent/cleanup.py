"""Removes from this node what an agent left, on request only. Blocking, in a process of its own.

Promises: nothing goes while an agent runs. What cannot be told to be ours stays. One thing that does not go
holds up nothing else, and the next run takes up what is left, wherever the last one ended.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent import endpoints, netlink, nodelinks, nodelock
from agent.config import DEFAULT_BPF_ROOT, DEFAULT_SOCKET, DEFAULT_STATE_DIR
from agent.errors import AgentError
from agent.leftovers import Item, Kind, Seen
from bpf import leftovers
from bpf.errors import BPFError
from bpf.pins import remove_empty

_SOCKET_SECONDS = 5.0
_NOBODY_LISTENS = (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


class CleanupError(AgentError):
    """Nothing was changed; the text says what to do first."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the agent of this node was told to keep its things."""

    bpf_root: Path = DEFAULT_BPF_ROOT
    state_directory: Path = DEFAULT_STATE_DIR
    socket: Path = DEFAULT_SOCKET


@contextmanager
def without_agent(places: Places) -> Iterator[None]:
    """No agent runs on this node while the block does. Raises AgentError if one does already."""
    if os.geteuid() != 0:
        raise CleanupError("only root can look at what an agent left, and remove it")
    with nodelock.held_by_cleanup():
        if _answers(places.socket):  # of a version from before that
            raise nodelock.NodeBusyError(
                f"{nodelock.RUNNING}: it answers at {places.socket}. {nodelock.STOP}"
            )
        yield


def look(places: Places) -> Seen:
    """What is here. Raises AgentError, BPFError, and CleanupError where not everything could be seen."""
    if missing := leftovers.bpffs_missing(places.bpf_root):
        raise CleanupError(missing)
    pinned = leftovers.find(places.bpf_root)
    devices = nodelinks.devices(frozenset(hook.program_id for hook in pinned.hooks))
    here = set(netlink.links().values())
    if strangers := sorted(
        hook.pin.name for hook in pinned.hooks if hook.ifindex and hook.ifindex not in here
    ):
        raise CleanupError(
            f"{strangers[0]} hangs on a device that is not in this network namespace: "
            "run this in the node's own (hostNetwork: true in a pod)"
        )
    return Seen(
        devices=devices,
        pods=_pods(places.state_directory / endpoints.FILE),
        hooked=frozenset(hook.ifindex for hook in pinned.hooks if hook.is_pods and hook.ifindex),
        hooks=tuple(hook.pin for hook in pinned.hooks),
        programs=pinned.programs,
        maps=pinned.maps,
        foreign_pins=pinned.foreign,
        routes=nodelinks.routes(),
        files=tuple(file for file in _files(places) if os.path.lexists(file)),
    )


def remove(item: Item) -> str:
    """Why it could not be removed; empty when it is gone."""
    try:
        _REMOVE[item.kind](item)
    except (AgentError, BPFError, OSError) as error:
        return str(error)
    return ""


def remove_folders(places: Places) -> None:
    """Those of ours that are empty."""
    leftovers.remove_folders(places.bpf_root)
    remove_empty(places.state_directory)


_REMOVE: Mapping[Kind, Callable[[Item], None]] = {
    Kind.POD_DEVICE: lambda item: nodelinks.remove_device(item.index),
    Kind.DEVICE: lambda item: nodelinks.remove_device(item.index),
    Kind.ROUTE: lambda item: nodelinks.remove_route(item.name, item.about),
    Kind.HOOK: lambda item: leftovers.remove(Path(item.name)),
    Kind.PROGRAM: lambda item: leftovers.remove(Path(item.name)),
    Kind.MAP: lambda item: leftovers.remove(Path(item.name)),
    Kind.FILE: lambda item: Path(item.name).unlink(missing_ok=True),
}


def _files(places: Places) -> list[Path]:
    return [*endpoints.files(places.state_directory / endpoints.FILE), places.socket]


def _pods(path: Path) -> dict[tuple[str, int], str]:
    """A file that cannot be read tells of nobody: pods are told by our programs too."""
    try:
        stored = endpoints.read(path)
    except (OSError, ValueError):
        return {}
    return {(each.interface, each.ifindex): each.pod for each in stored.endpoints}


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_SOCKET_SECONDS)
        try:
            client.connect(str(path))
        except OSError as error:
            return error.errno not in _NOBODY_LISTENS
    return True
