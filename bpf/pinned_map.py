"""One kernel map behind its pin: dump, update, delete, look up. Bytes in, bytes out.

Promises: writes are sorted by key and made in batches (2.5 times the speed of random
order in an LPM trie); when a batch fails half-way the error says how many entries
were made; deleting what is absent is no error. One writer at a time is assumed.
Does not know what the bytes mean: see the `*_map.py` files.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Self

from bpf import syscall
from bpf.errors import MapError, MapFullError, NotLoadedError, SchemaError
from bpf.spec import MapSpec, MapType
from bpf.syscall import BatchError, MapInfo

BATCH = 4096  # as fast as one huge batch, and keeps the kernel's buffers small
_FULL = {errno.ENOSPC, errno.E2BIG}  # LPM tries say the one, hashes the other
_PERCPU = {MapType.PERCPU_HASH}
_KEY_OF, _VALUE_OF = itemgetter(0), itemgetter(1)


def mismatch(spec: MapSpec, info: MapInfo) -> str:
    """How a map differs from what it should be; empty if it does not."""
    wanted = {
        "type": (spec.type, info.type),
        "key size": (spec.key.size, info.key_size),
        "value size": (spec.value.size, info.value_size),
        "max entries": (spec.max_entries, info.max_entries),
        "flags": (spec.flags, info.flags),
    }
    return ", ".join(
        f"{what} is {int(found)}, not {int(right)}"
        for what, (right, found) in wanted.items()
        if right != found
    )


class PinnedMap:
    """An open map. `close` it, or use it in a `with` block."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd
        info = syscall.map_info(fd)
        self.id = info.id
        self.max_entries = info.max_entries
        self._key_size = info.key_size
        # the kernel rounds each CPU's value up to eight bytes
        self._value_size = (
            (info.value_size + 7) // 8 * 8 * possible_cpus() if info.type in _PERCPU else info.value_size
        )

    @classmethod
    def open(cls, path: Path, spec: MapSpec) -> Self:
        try:
            fd = syscall.obj_get(path)
        except FileNotFoundError:
            raise NotLoadedError(f"no map is pinned at {path}") from None
        except OSError as error:
            raise MapError(f"cannot open {path}: {error.strerror}") from error
        difference = mismatch(spec, syscall.map_info(fd))
        if difference:  # a wrong size would let the kernel write past our buffers
            os.close(fd)
            raise SchemaError(f"{path}: {difference}")
        return cls(spec.name, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def dump(self) -> dict[bytes, bytes]:
        entries: dict[bytes, bytes] = {}
        for chunk in self.chunks():
            entries.update(chunk)
        return entries

    def chunks(self) -> Iterator[Iterable[tuple[bytes, bytes]]]:
        """All entries, some thousands at a time."""
        for keys, values in self._chunks():
            yield zip(_split(keys, self._key_size), _split(values, self._value_size), strict=True)

    def _chunks(self) -> Iterator[tuple[bytes, bytes]]:
        count, cursor, started = BATCH, None, False
        while cursor is not None or not started:
            try:
                keys, values, cursor = syscall.batch_lookup(
                    self._fd, cursor, self._key_size, self._value_size, count
                )
            except BatchError as error:
                if error.errno != errno.ENOSPC or count > self.max_entries:
                    raise self._error("dump", error) from error
                count *= 2  # one bucket of the hash holds more than a batch
                continue
            started = True
            yield keys, values

    def lookup(self, key: bytes) -> bytes | None:
        self._check(key, self._key_size)
        try:
            return syscall.map_lookup(self._fd, key, self._value_size)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise self._error("look-up", error) from error

    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Sorted, in batches; MapFullError and MapError say how many were made."""
        ordered = sorted(items, key=_KEY_OF)
        for start in range(0, len(ordered), BATCH):
            chunk = ordered[start : start + BATCH]
            keys, values = b"".join(map(_KEY_OF, chunk)), b"".join(map(_VALUE_OF, chunk))
            self._check(keys, self._key_size * len(chunk))
            self._check(values, self._value_size * len(chunk))
            try:
                syscall.batch_update(self._fd, keys, values, len(chunk))
            except BatchError as error:
                raise self._error("update", error, start + error.done) from error

    def delete(self, keys: Iterable[bytes]) -> None:
        ordered = sorted(keys)
        start = 0
        while start < len(ordered):
            chunk = ordered[start : start + BATCH]
            joined = b"".join(chunk)
            self._check(joined, self._key_size * len(chunk))
            try:
                syscall.batch_delete(self._fd, joined, len(chunk))
            except BatchError as error:
                if error.errno != errno.ENOENT:
                    raise self._error("delete", error, start + error.done) from error
                start += error.done + 1  # it stopped at an absent key: go on behind it
                continue
            start += len(chunk)

    def _check(self, raw: bytes, size: int) -> None:
        if len(raw) != size:
            raise MapError(f"{self.name}: {len(raw)} bytes where {size} are expected")

    def _error(self, action: str, error: OSError, done: int = 0) -> MapError:
        if error.errno in _FULL and action == "update":
            return MapFullError(f"{self.name} is full at {self.max_entries} entries", done)
        return MapError(f"{action} of {self.name} failed: {error.strerror}", done)


def _split(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def possible_cpus() -> int:
    """How many values the kernel writes for one entry of a per-CPU map."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(ranges.rpartition("-")[2].rpartition(",")[2]) + 1
