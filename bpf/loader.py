"""Gets the programs and maps into the kernel, pinned, and keeps them current.

Promises: every pin that stands is compared with the spec before it is used; a wrong one
is an error, never reused and never removed. Maps survive, whatever happens to programs.
If neither the sources nor the pins changed, nothing is compiled. Changed programs are
put on their hooks one by one, in place. A crash at any point is mended by the next load:
the hash of the sources is written last.

Compiling happens in a child process (`compile.py`), so LLVM is never in this one.
"""

import fcntl
import hashlib
import json
import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bpf import host_netns, link, nat_map, node_config_map, syscall
from bpf.errors import BPFUnavailableError, CompileError, NotLoadedError, SchemaError
from bpf.node_config_map import NodeConfig
from bpf.pinned_map import PinnedMap, mismatch
from bpf.pins import Pins
from bpf.programspec import PROGRAMS, SOURCES, ProgramSpec
from bpf.requirements import COMPILER_PYTHON, check
from bpf.spec import HOST_NETNS, MAPS, NODE_CONFIG, NODEPORT6_CONFIG, NODEPORT_CONFIG, SCHEMA_VERSION

__all__ = ["NodeOptions", "check", "load", "unload"]

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_COMPILE_TIMEOUT = 120.0  # seconds; four on an idle machine
_STDERR_LINES = 20  # of a refused program: the end of the log has the reason
_STAGED = "_new"  # bpffs reserves names with dots


@dataclass(frozen=True, slots=True)
class NodeOptions:
    node_ip: str
    vxlan_ifindex: int
    mtu: int = 1450
    gateway: str = ""  # the node's address among the pods, by which other nodes' pods answer it
    underlay_ifindex: int = 0  # by which other nodes are reached; 0: as clients of node ports come
    host_netns: int = (
        0  # cookie of the node's network namespace, whose processes may not bind services' ports
    )
    node_ip6: str = ""  # empty: the node has none, and relays no client of IPv6
    gateway6: str = ""  # as `gateway`
    underlay6_ifindex: int = 0  # as `underlay_ifindex`


def load(root: Path, options: NodeOptions) -> None:
    """Idempotent. BPFUnavailableError: this machine cannot; nothing was changed."""
    missing = check(root)
    if missing:
        raise BPFUnavailableError("; ".join(missing))
    pins = Pins(root)
    source, digest = source_text(pins)
    with _locked(root):
        _check_maps(pins, must_exist=False)
        if not _is_current(pins, digest):
            _build(pins, source)
            log.info("loaded the data path at %s", root)
        _configure_node_ports(pins, options)
        with PinnedMap.open(pins.map(HOST_NETNS), HOST_NETNS) as table:
            table.update([(host_netns.KEY, host_netns.pack_value(options.host_netns))])
        _configure(pins, NodeConfig(options.node_ip, options.vxlan_ifindex, options.mtu, digest))


def unload(root: Path) -> None:
    """Remove every pin, and the directories that this leaves empty. Absent is no error."""
    Pins(root).remove_all()
    for folder in (root, *root.parents):
        try:
            folder.rmdir()
        except OSError:
            return  # not empty, or the file system's own root


def source_text(pins: Pins) -> tuple[str, bytes]:
    """One text of all sources, and a hash of it and of what compiles it."""
    parts = [f'#define MAP_ROOT "{pins.maps}"\n']
    for name in SOURCES:
        lines = (_HERE / name).read_text().splitlines()
        # all are here already; an empty line keeps the compiler's line numbers right
        kept = ["" if line.startswith('#include "') else line for line in lines]
        parts.append("\n".join([f'#line 1 "bpf/{name}"', *kept, ""]))
    text = "".join(parts)
    compiler = (_HERE / "compile.py").read_bytes()
    digest = hashlib.sha256(b"\0".join([SCHEMA_VERSION.encode(), text.encode(), compiler])).digest()
    return text, digest[: len(node_config_map.NO_HASH)]


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One loader at a time. The lock goes with the process, however it ends."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _check_maps(pins: Pins, *, must_exist: bool) -> dict[str, int]:
    """Name -> id of every pinned map. SchemaError if one is not what the spec says."""
    ids, wrong = {}, []
    for spec in MAPS:
        try:
            fd = syscall.obj_get(pins.map(spec))
        except FileNotFoundError:
            if must_exist:
                wrong.append(f"{pins.map(spec)}: missing")
            continue
        try:
            info = syscall.map_info(fd)
        finally:
            os.close(fd)
        difference = mismatch(spec, info)
        if difference:
            wrong.append(f"{pins.map(spec)}: {difference}")
        ids[spec.name] = info.id
    if wrong:
        raise SchemaError("; ".join(wrong))
    return ids


def _is_current(pins: Pins, digest: bytes) -> bool:
    """Are all pins there, made from these sources, and the programs upon these maps?"""
    ids = _check_maps(pins, must_exist=False)
    if len(ids) < len(MAPS) or _read_config(pins).source_hash != digest:
        return False
    return all(_uses_only(pins, program, frozenset(ids.values())) for program in PROGRAMS)


def _uses_only(pins: Pins, program: ProgramSpec, map_ids: frozenset[int]) -> bool:
    try:
        fd = syscall.obj_get(pins.program(program))
    except FileNotFoundError:
        return False
    try:
        info = syscall.program_info(fd)
    finally:
        os.close(fd)
    return info.type == program.type and info.map_ids <= map_ids


def _read_config(pins: Pins) -> NodeConfig:
    with PinnedMap.open(pins.map(NODE_CONFIG), NODE_CONFIG) as config:
        raw = config.lookup(node_config_map.KEY)
    if raw is None:
        raise NotLoadedError(f"no configuration at {pins.map(NODE_CONFIG)}")
    return node_config_map.unpack_value(raw)


def _configure(pins: Pins, wanted: NodeConfig) -> None:
    if _read_config(pins) == wanted:
        return
    with PinnedMap.open(pins.map(NODE_CONFIG), NODE_CONFIG) as config:
        config.update([(node_config_map.KEY, node_config_map.pack_value(wanted))])


def _configure_node_ports(pins: Pins, options: NodeOptions) -> None:
    value = nat_map.pack_config(options.gateway, options.underlay_ifindex)
    with PinnedMap.open(pins.map(NODEPORT_CONFIG), NODEPORT_CONFIG) as config:
        config.update([(nat_map.CONFIG_KEY, value)])
    value = nat_map.pack_config6(options.node_ip6, options.gateway6, options.underlay6_ifindex)
    with PinnedMap.open(pins.map(NODEPORT6_CONFIG), NODEPORT6_CONFIG) as config:
        config.update([(nat_map.CONFIG_KEY, value)])


def _build(pins: Pins, source: str) -> None:
    for folder in (pins.maps, pins.programs, pins.links):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = {program: pins.programs / (program.name + _STAGED) for program in PROGRAMS}
    for pin in staged.values():
        pin.unlink(missing_ok=True)  # of a load that was interrupted
    _compile(source, staged)
    _check_maps(pins, must_exist=True)
    for program, pin in staged.items():
        pin.rename(pins.program(program))
        link.replace_program(pins, program)


def _compile(source: str, staged: dict[ProgramSpec, Path]) -> None:
    programs = [
        {"name": program.name, "type": program.type, "attach": program.expected_attach, "pin": str(pin)}
        for program, pin in staged.items()
    ]
    try:
        child = subprocess.run(
            [COMPILER_PYTHON, "-I", _HERE / "compile.py"],
            input=json.dumps({"text": source, "programs": programs}),
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMPILE_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"the BPF compiler did not end within {_COMPILE_TIMEOUT:.0f} s") from error
    if child.returncode:
        reason = "\n".join(child.stderr.strip().splitlines()[-_STDERR_LINES:])
        raise CompileError(f"the BPF programs were refused:\n{reason}")
