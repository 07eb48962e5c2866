"""The endpoints of this node: what they are, and where they are kept between two lives of the agent.

The file is written whole, to a new name, and renamed (never half a file), readable by root only. Links and
maps are pinned in the kernel; this file is what ties them to pods again after a restart. Nothing else knows
it, so there is a second copy, for the day on which the disk gives back something else than was written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.errors import ExhaustedError

log = logging.getLogger(__name__)

FILE = "endpoints.json"
SCHEMA = 1
MAX_ID = 65535  # the kernel's lxc_id has 16 bits
FILE_MODE = 0o600
COPY = ".copy"  # what the second copy's name ends in


class Endpoint(msgspec.Struct, frozen=True):
    """One local workload interface. `labels` are "source:key=value" texts; `ipv6` "": it has none."""

    id: int
    container_id: str
    interface: str
    ifindex: int
    mac: str
    host_mac: str
    ipv4: str
    pod_name: str
    namespace: str
    identity: int
    labels: tuple[str, ...]
    pod_uid: str = ""
    service_account: str = ""
    named_ports: tuple[tuple[str, str, int], ...] = ()  # name, protocol, number; sorted
    ipv6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.ipv4, self.ipv6) if self.ipv6 else (self.ipv4,)

    @property
    def addressing(self) -> dict[str, str]:
        """As Cilium's objects say it: an element of `addressing`."""
        return {"ipv4": self.ipv4, "ipv6": self.ipv6} if self.ipv6 else {"ipv4": self.ipv4}

    @property
    def pod(self) -> str:
        return f"{self.namespace}/{self.pod_name}"


class Stored(msgspec.Struct):
    """The file's content. `addresses` are all that were given out, also those no endpoint uses yet; those of
    IPv6 stand apart, as an agent that knows none must be able to read the rest."""

    schema: int = SCHEMA
    endpoints: tuple[Endpoint, ...] = ()
    addresses: dict[str, str] = {}
    addresses6: dict[str, str] = {}


def load(path: Path) -> Stored:
    """What was stored; nothing when there is no file. Raises ValueError when no copy can be read."""
    try:
        return _read(path)
    except FileNotFoundError:
        return Stored()
    except ValueError as error:
        copy = _copy(path)
        try:
            stored = _read(copy)
        except (OSError, ValueError):
            raise error from None
        log.error("%s cannot be read (%s): taking %s", path, error, copy)
        with suppress(OSError):  # a full disk: the next write tries again
            _replace(path, copy.read_bytes())
        return stored


def read(path: Path) -> Stored:
    """What was stored, from the copy if need be; mends nothing. Raises OSError and ValueError."""
    try:
        return _read(path)
    except (OSError, ValueError):
        return _read(_copy(path))


def files(path: Path) -> list[Path]:
    """All that `store` ever writes."""
    return [each for file in (path, _copy(path)) for each in (_temporary(file), file)]


def store(path: Path, stored: Stored) -> None:
    """Replace the file at once, then its copy. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = msgspec.json.format(msgspec.json.encode(stored), indent=1)
    for each in (path, _copy(path)):
        _replace(each, content)


def _read(path: Path) -> Stored:
    stored = msgspec.json.decode(path.read_bytes(), type=Stored)  # its errors are ValueErrors
    if stored.schema != SCHEMA:
        raise ValueError(f"{path}: schema {stored.schema} is not {SCHEMA}")
    return stored


def _replace(path: Path, content: bytes) -> None:
    temporary = _temporary(path)
    with suppress(FileNotFoundError):
        temporary.unlink()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _copy(path: Path) -> Path:
    return path.with_name(path.name + COPY)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def next_id(used: Collection[int]) -> int:
    """A number that is not in use: after the highest while there is room, so that numbers rest before reuse.
    Raises ExhaustedError."""
    highest = max(used, default=0)
    if highest < MAX_ID:
        return highest + 1
    for number in range(1, MAX_ID + 1):
        if number not in used:
            return number
    raise ExhaustedError("all endpoint numbers are taken")
