"""A pinned ring buffer: the records that the programs put in, taken out in order.

The kernel writes only what fits and never waits: who reads too slowly misses records. One reader at a time.
Plain loads are enough where the processor keeps stores in order, as x86 does.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Self

from bpf import syscall
from bpf.errors import MapError, NotLoadedError, SchemaError
from bpf.pinned_map import mismatch
from bpf.spec import MapSpec

_POSITION = struct.Struct("=Q")
_HEADER = struct.Struct("=II")  # length and flags, and where its page is
_BUSY, _DISCARDED = 1 << 31, 1 << 30


class Ring:
    """`close` it, or use it in a `with` block."""

    def __init__(self, fd: int, size: int) -> None:
        self._mask = size - 1
        try:
            self._consumer = mmap.mmap(fd, mmap.PAGESIZE)
            # the kernel shows the data twice in a row, so that no record is in two pieces
            self._data = mmap.mmap(fd, mmap.PAGESIZE + 2 * size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)
        finally:
            os.close(fd)  # the mappings keep the map

    @classmethod
    def open(cls, path: Path, spec: MapSpec) -> Self:
        try:
            fd = syscall.obj_get(path)
        except FileNotFoundError:
            raise NotLoadedError(f"no ring is pinned at {path}") from None
        except OSError as error:
            raise MapError(f"cannot open {path}: {error.strerror}") from error
        difference = mismatch(spec, syscall.map_info(fd))
        if difference:
            os.close(fd)
            raise SchemaError(f"{path}: {difference}")
        return cls(fd, spec.max_entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()
        self._data.close()

    def drain(self, limit: int) -> list[bytes]:
        """Up to `limit` records, oldest first."""
        (position,) = _POSITION.unpack_from(self._consumer)
        (end,) = _POSITION.unpack_from(self._data)
        records: list[bytes] = []
        while position < end and len(records) < limit:
            at = mmap.PAGESIZE + (position & self._mask)
            header, _ = _HEADER.unpack_from(self._data, at)
            if header & _BUSY:
                break  # still being written
            length = header & ~_DISCARDED
            if not header & _DISCARDED:
                records.append(self._data[at + _HEADER.size : at + _HEADER.size + length])
            position += (_HEADER.size + length + 7) & ~7
        _POSITION.pack_into(self._consumer, 0, position)
        return records
