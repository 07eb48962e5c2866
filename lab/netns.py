"""Network namespaces: make, remove, and run something inside one.

`setns` is per thread, so work inside a namespace runs in a thread that is thrown away: a failure half-way
can never leave the caller in the wrong network. A socket stays in the namespace it was made in, whichever
thread uses it later. Nothing is forked: the callers run event loops and gRPC threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

from bpf import host_netns
from lab.errors import LabError

T = TypeVar("T")

NETNS_ROOT = Path("/run/netns")  # iproute2's place, so that `ip netns` shows what the lab made
_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def path(name: str) -> Path:
    return NETNS_ROOT / name


def names(prefix: str = "") -> list[str]:
    if not NETNS_ROOT.is_dir():
        return []
    return sorted(each.name for each in NETNS_ROOT.iterdir() if each.name.startswith(prefix))


def create(name: str) -> None:
    """A new, empty namespace with `lo` down. Replaces one of that name."""
    remove(name)
    NETNS_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
    path(name).touch(mode=0o400)

    def make() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare a network namespace")
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        mount(source, str(path(name)), "none", _MS_BIND)

    try:
        in_thread(make)
    except BaseException:
        path(name).unlink()
        raise


def remove(name: str) -> bool:
    """Remove a namespace's name; the kernel frees it with its last process and socket."""
    if not path(name).exists():
        return False
    unmount(path(name))
    path(name).unlink(missing_ok=True)
    with suppress(OSError):  # ours to remove only when it is empty and nothing is mounted on it
        NETNS_ROOT.rmdir()
    return True


def run(name: str, work: Callable[[], T]) -> T:
    """Run `work` inside namespace `name`, in a thread of its own, and wait for its result."""
    fd = _open(name)

    def inside() -> T:
        _check(_libc.setns(fd, _CLONE_NEWNET), f"enter network namespace {name}")
        return work()

    try:
        return in_thread(inside)
    finally:
        os.close(fd)


async def run_async(name: str, work: Callable[[], T]) -> T:
    """`run` without blocking the event loop, and not in its small pool of threads: `work` may be slow.

    When the caller is cancelled, `work` still runs to its end: it must have one.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():  # cancelled meanwhile
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def body() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = run(name, work), None
        except Exception as error:  # noqa: BLE001 - handed to the caller, whole
            outcome = None, error
        with suppress(RuntimeError):  # the loop has ended, and with it the caller
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=body, name="netns", daemon=True).start()
    return await done


def enter(name: str) -> None:
    """Move the calling thread for good. For a process's start, before it has other threads."""
    fd = _open(name)
    try:
        _check(_libc.setns(fd, _CLONE_NEWNET), f"enter network namespace {name}")
    finally:
        os.close(fd)


def tcp_socket(name: str) -> socket.socket:
    """A TCP socket whose network is namespace `name`."""
    return run(name, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))


def cookie(name: str) -> int:
    """The kernel's number for the namespace, as eBPF programs see it."""
    return run(name, host_netns.cookie)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode() or None)
    _check(result, f"mount {source} on {target}")


def unmount(target: Path) -> None:
    """Take every mount off `target`; none there is no error."""
    while _libc.umount2(str(target).encode(), _MNT_DETACH) == 0:
        pass


def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a new thread that ends with it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whole
            errors.append(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _open(name: str) -> int:
    try:
        return os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LabError(f"there is no network namespace {name}") from error


def _check(result: int, doing: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {doing}: {os.strerror(number)}")
