"""Containers run where they should, see what they should, and end when they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest

from aiokit.wait import eventually
from lab import cgroup, network, plan, process
from lab.node import runtime
from lab.plan import LabPlan

ENV = {"PATH": os.environ["PATH"], "GREETING": "hello"}


@pytest.fixture
def group(lab_name: str) -> Iterator[Path]:
    path = plan.cgroup(cgroup.root(), lab_name)
    yield path
    cgroup.remove(path)
    with suppress(OSError):  # another lab's cgroup is in it, or there is none
        path.parent.rmdir()


@pytest.fixture
def node(lab: LabPlan) -> str:
    network.build(lab)
    return lab.nodes[1].namespace


class Starter:
    def __init__(self, node: str, group: Path, folder: Path) -> None:
        self.node, self.group, self.folder = node, group, folder
        self.log = folder / "log"

    async def __call__(self, script: str, *binds: runtime.Bind) -> runtime.Running:
        return await runtime.start(
            runtime.Launch(["sh", "-c", script], ENV, self.node, self.group / "pod", binds, self.log)
        )

    async def output(self, script: str, *binds: runtime.Bind) -> str:
        running = await self(script, *binds)
        assert await running.wait() == 0
        return self.log.read_text()


@pytest.fixture
def start(node: str, group: Path, tmp_path: Path) -> Starter:
    return Starter(node, group, tmp_path)


async def test_a_process_runs_in_the_nodes_network_with_its_environment(start: Starter) -> None:
    assert (
        await start.output("echo $GREETING; ip -o -4 addr show eth0 | grep -c 198.18.1.11/15") == "hello\n1\n"
    )


async def test_var_lib_is_private_and_shows_the_volumes(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v/key").write_text("value")
    bind = runtime.Bind(tmp_path / "v", PurePosixPath("/var/lib/cilium/clustermesh"))
    nested = runtime.Bind(tmp_path / "w", PurePosixPath("/var/lib/cilium/clustermesh-run"))
    out = await start.output(
        "ls /var/lib; cat /var/lib/cilium/clustermesh/key; echo x > /var/lib/cilium/clustermesh-run/y",
        bind,
        nested,
    )
    assert out == "cilium\nvalue"
    assert (tmp_path / "w/y").read_text() == "x\n"
    assert not Path("/var/lib/cilium/clustermesh").exists()


async def test_a_read_only_volume_cannot_be_written(start: Starter, tmp_path: Path) -> None:
    bind = runtime.Bind(tmp_path / "v", PurePosixPath("/var/lib/v"), read_only=True)
    running = await start("echo x > /var/lib/v/y", bind)
    assert await running.wait() != 0
    assert "Read-only" in start.log.read_text()


async def test_the_process_and_its_children_are_in_the_pods_cgroup(start: Starter, group: Path) -> None:
    running = await start("sleep 60 & sleep 60; true")
    await eventually(lambda: len(cgroup.members(group / "pod")) == 3)
    assert running.identity.pid in cgroup.members(group / "pod")
    assert cgroup.remove(group / "pod") == 3
    assert await running.wait() == -signal.SIGKILL


async def test_a_deaf_process_is_killed_after_its_grace_with_its_children(
    start: Starter, group: Path
) -> None:
    running = await start("trap '' TERM; echo deaf; while :; do sleep 60; done")
    await eventually(lambda: start.log.exists() and "deaf" in start.log.read_text())
    await running.stop(0.1)
    await eventually(lambda: cgroup.members(group / "pod") == [])
    assert not running.identity.is_alive


async def test_a_polite_process_ends_by_itself(start: Starter) -> None:
    running = await start("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done")
    await eventually(lambda: "up" in start.log.read_text())
    await running.stop(5)
    assert await running.wait() == 3
    assert start.log.read_text() == "up\nbye\n"


async def test_a_missing_program_leaves_its_reason_in_the_log(start: Starter) -> None:
    running = await start("exec /nonexistent/program")
    assert await running.wait() == 127
    assert "nonexistent" in start.log.read_text()


async def test_a_second_start_appends_to_the_log(start: Starter) -> None:
    await start.output("echo one")
    assert await start.output("echo two") == "one\ntwo\n"


async def test_exec_runs_beside_the_container(start: Starter, group: Path, tmp_path: Path) -> None:
    bind = runtime.Bind(tmp_path / "v", PurePosixPath("/var/lib/v"))
    running = await start("echo up; exec sleep 60", bind)
    await eventually(lambda: "up" in start.log.read_text())
    command = runtime.exec_command(
        running.identity.pid, group / "pod", ["sh", "-c", "cat; ls /var/lib; cat /proc/self/cgroup; exit 4"]
    )
    done = subprocess.run(command, input="in\n", capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stdout.startswith("in\nv\n")
    assert str((group / "pod").relative_to(cgroup.root())) in done.stdout
    await running.stop(1)


async def test_a_container_dies_with_a_killed_kubelet(node: str, group: Path, tmp_path: Path) -> None:
    script = f"""
import asyncio, os
from pathlib import Path
from lab.node import runtime
async def main():
    running = await runtime.start(runtime.Launch(["sleep", "60"], dict(os.environ), {node!r},
        Path({str(group / "pod")!r}), [], Path({str(tmp_path / "log")!r})))
    print(running.identity.pid, running.identity.start_time, flush=True)
    await running.wait()
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = process.Process(*map(int, parent.stdout.readline().split()))
    assert child.is_alive
    # only the end of the chain has certainly asked to die with its parent
    await eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await eventually(lambda: not child.is_alive)
    assert cgroup.members(group) == []


def test_a_reused_number_is_another_process() -> None:
    mine = process.identify(os.getpid())
    assert mine is not None and mine.is_alive
    assert not process.Process(mine.pid, mine.start_time - 1).is_alive
    assert process.identify(2**22 + 1) is None


def test_an_absent_cgroup_is_no_error_to_remove(group: Path) -> None:
    assert cgroup.remove(group / "never") == 0
