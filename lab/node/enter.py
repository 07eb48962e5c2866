"""`lab exec`: become a command inside a pod. Quick: no API, no fork, exit status and terminal are its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab import cgroup, record
from lab.errors import LabError
from lab.node import pod_record
from lab.node.container import program
from lab.paths import LabPaths
from lab.process import Process


def become(lab: str, cluster: str, pod: str, container: str, argv: Sequence[str]) -> NoReturn:
    """Replace this process. Raises LabError when there is nothing to enter."""
    record.read(lab).plan.cluster(cluster)
    chosen = pod_record.choose(pod_record.all_of(LabPaths(lab)), cluster, pod)
    process = chosen.container(container).process
    if process is None or not process.is_alive:
        raise LabError(f"pod {chosen.name} is not running: clustermesh lab --name {lab} logs {cluster} {pod}")
    environment = environment_of(process)
    cgroup.join(Path(chosen.cgroup))
    words = program(list(argv), sys.executable)
    command = ["nsenter", f"--target={process.pid}", "--net", "--mount", "--", *words]
    os.execvpe(command[0], command, environment)


def environment_of(process: Process) -> dict[str, str]:
    """What the container was started with; our terminal's kind is added for interactive use."""
    raw = Path(f"/proc/{process.pid}/environ").read_bytes()
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    found = {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}
    return {**({"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}), **found}
