"""The image gets every package, and what the agents need of Debian. Tests cannot build it: no Docker."""

from __future__ import annotations

import re
import tomllib

from tests.charts.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_let_into_the_build_and_nothing_else() -> None:
    let_in = {
        line[1:-1]
        for line in (ROOT / ".dockerignore").read_text().split()
        if line.endswith("/") and line[0] == "!"
    }
    assert let_in == {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}


def test_the_agents_find_debians_bcc_under_debians_python() -> None:
    for stage in ("FROM debian:12-slim AS build", "\nFROM debian:12-slim\n"):
        assert stage in DOCKERFILE
    listed = re.search(r'^PACKAGES="(.*)"$', (ROOT / "run").read_text(), re.MULTILINE)
    assert listed is not None
    for package in ("python3-bpfcc", "libbpfcc", "linux-libc-dev", "bpftool", "iproute2"):
        assert package in listed[1].split() and package in DOCKERFILE.split("AS build")[1].split()


def test_nothing_runs_as_root_by_itself() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["65532:65532"]
