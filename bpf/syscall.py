"""bpf(2) through ctypes: the commands that we use, and nothing above them.

Promises: every failure is an OSError with the kernel's errno; buffers are as large
as the caller says, so sizes must come from the kernel's own map info. A command is
packed without a byte after its last field, as the kernel refuses non-zero ones.
Does not know maps by name, nor paths' meaning, nor retry.
"""

import ctypes
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path

_NUMBER = {"x86_64": 321, "aarch64": 280}

_MAP_CREATE, _MAP_LOOKUP = 0, 1
_OBJ_PIN, _OBJ_GET = 6, 7
_OBJ_INFO = 15
_PROG_QUERY = 16
_BATCH_LOOKUP, _BATCH_UPDATE, _BATCH_DELETE = 24, 26, 27
_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34

_BATCH = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, fd, element flags, flags
_BATCH_COUNT = slice(32, 36)

_libc = ctypes.CDLL(None, use_errno=True)


class BatchError(OSError):
    """A batch stopped early; `done` entries had been handled."""

    def __init__(self, errno: int, done: int) -> None:
        super().__init__(errno, os.strerror(errno))
        self.done = done


def _bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    number = _NUMBER.get(platform.machine())
    if number is None:
        raise NotImplementedError(f"bpf(2) has no number here for {platform.machine()}")
    result: int = _libc.syscall(number, command, attributes, len(attributes))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result


def _call(command: int, form: str, *values: int) -> int:
    packed = struct.pack("=" + form, *values)
    return _bpf(command, ctypes.create_string_buffer(packed, len(packed)))


def _pointer(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _buffer(raw: bytes | int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(raw, raw if isinstance(raw, int) else len(raw))


def obj_get(path: Path) -> int:
    name = _buffer(os.fsencode(path) + b"\0")
    return _call(_OBJ_GET, "QII", _pointer(name), 0, 0)


def obj_pin(fd: int, path: Path) -> None:
    name = _buffer(os.fsencode(path) + b"\0")
    _call(_OBJ_PIN, "QII", _pointer(name), fd, 0)


def map_create(map_type: int, key_size: int, value_size: int, max_entries: int, flags: int = 0) -> int:
    return _call(_MAP_CREATE, "IIIII", map_type, key_size, value_size, max_entries, flags)


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes:
    wanted, value = _buffer(key), _buffer(value_size)
    _call(_MAP_LOOKUP, "IIQQQ", fd, 0, _pointer(wanted), _pointer(value), 0)
    return value.raw


def _batch(command: int, fd: int, count: int, *pointers: int) -> int:
    """Pointers: cursor in, cursor out, keys, values. How many entries were handled."""
    packed = _BATCH.pack(*pointers, count, fd, 0, 0)
    attributes = ctypes.create_string_buffer(packed, len(packed))
    try:
        _bpf(command, attributes)
    except OSError as error:
        done = int.from_bytes(attributes.raw[_BATCH_COUNT], "little")
        raise BatchError(error.errno or 0, done) from None
    return int.from_bytes(attributes.raw[_BATCH_COUNT], "little")


def batch_update(fd: int, keys: bytes, values: bytes, count: int) -> None:
    """Keys and values lie one after another. BatchError: full, or worse."""
    wanted, new = _buffer(keys), _buffer(values)
    _batch(_BATCH_UPDATE, fd, count, 0, 0, _pointer(wanted), _pointer(new))


def batch_delete(fd: int, keys: bytes, count: int) -> None:
    """BatchError with ENOENT at the first key that is absent."""
    wanted = _buffer(keys)
    _batch(_BATCH_DELETE, fd, count, 0, 0, _pointer(wanted), 0)


def batch_lookup(
    fd: int, cursor: bytes | None, key_size: int, value_size: int, count: int
) -> tuple[bytes, bytes, bytes | None]:
    """Up to `count` entries after `cursor`: keys, values and the next cursor; None at the end."""
    keys, values = _buffer(key_size * count), _buffer(value_size * count)
    # hash maps keep a bucket's number in the cursor, which can be longer than a key
    after = _buffer(max(key_size, 4))
    start = None if cursor is None else _buffer(cursor)  # a name keeps it alive during the call
    before = 0 if start is None else _pointer(start)
    following: bytes | None = None
    try:
        done = _batch(_BATCH_LOOKUP, fd, count, before, _pointer(after), _pointer(keys), _pointer(values))
        following = after.raw
    except BatchError as error:
        if error.errno != 2:  # ENOENT: that was all
            raise
        done = error.done
    return keys.raw[: key_size * done], values.raw[: value_size * done], following


def link_create(program_fd: int, target: int, attach_type: int) -> int:
    """`target`: an ifindex of this thread's network namespace, or a file descriptor of a cgroup."""
    return _call(_LINK_CREATE, "IIIIIIQ", program_fd, target, attach_type, 0, 0, 0, 0)


def link_update(link_fd: int, program_fd: int) -> None:
    _call(_LINK_UPDATE, "IIII", link_fd, program_fd, 0, 0)


def link_detach(link_fd: int) -> None:
    """Take the program off its hook now: closing the last descriptor does so a moment later."""
    _call(_LINK_DETACH, "I", link_fd)


def program_query(target: int, attach_type: int) -> list[int]:
    """Ids of the programs on a hook; target as for `link_create`."""
    ids = (ctypes.c_uint32 * 64)()
    # target, type, query flags, attach flags, ids, count, pad, attach flags per id, revision
    packed = struct.pack("=IIIIQIIQ", target, attach_type, 0, 0, ctypes.addressof(ids), 64, 0, 0)
    attributes = ctypes.create_string_buffer(packed, 64)
    _bpf(_PROG_QUERY, attributes)
    return list(ids[: int.from_bytes(attributes.raw[24:28], "little")])


@dataclass(frozen=True, slots=True)
class MapInfo:
    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    type: int
    id: int
    map_ids: frozenset[int]
    verified: int  # instructions that the verifier followed, of its million


@dataclass(frozen=True, slots=True)
class LinkInfo:
    type: int
    id: int
    program_id: int
    target: int  # ifindex or cgroup id; 0 once the device or the cgroup is gone
    attach_type: int


LINK_CGROUP, LINK_TCX = 3, 11  # enum bpf_link_type


def _info(fd: int, size: int, given: bytes = b"") -> bytes:
    answer = ctypes.create_string_buffer(given, size)
    _call(_OBJ_INFO, "IIQ", fd, size, _pointer(answer))
    return answer.raw


def map_info(fd: int) -> MapInfo:
    return MapInfo(*struct.unpack_from("=6I", _info(fd, 80)))


_PROG_INFO_MAP_IDS = struct.Struct("=IQ")  # count, pointer; after the fields up to the uid
_PROG_INFO_MAPS_AT = 52
_PROG_INFO_VERIFIED = struct.Struct("=I")
_PROG_INFO_VERIFIED_AT = 216  # after the statistics; Linux 5.16


def program_info(fd: int) -> ProgramInfo:
    ids = (ctypes.c_uint32 * 64)()
    given = bytearray(_PROG_INFO_VERIFIED_AT + _PROG_INFO_VERIFIED.size)
    _PROG_INFO_MAP_IDS.pack_into(given, _PROG_INFO_MAPS_AT, 64, ctypes.addressof(ids))
    raw = _info(fd, len(given), bytes(given))
    kind, number = struct.unpack_from("=II", raw)
    count, _ = _PROG_INFO_MAP_IDS.unpack_from(raw, _PROG_INFO_MAPS_AT)
    (verified,) = _PROG_INFO_VERIFIED.unpack_from(raw, _PROG_INFO_VERIFIED_AT)
    return ProgramInfo(kind, number, frozenset(ids[:count]), verified)


def link_info(fd: int) -> LinkInfo:
    raw = _info(fd, 32)
    kind, number, program = struct.unpack_from("=III", raw)
    if kind == LINK_CGROUP:
        target, attach = struct.unpack_from("=QI", raw, 16)
    elif kind == LINK_TCX:
        target, attach = struct.unpack_from("=II", raw, 16)
    else:
        target, attach = 0, 0
    return LinkInfo(kind, number, program, target, attach)
