"""Links on a cgroup of our own: attached once, replaced in place, renewed when their cgroup goes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiokit.wait import eventually
from bpf import link
from bpf.errors import AttachError, NotLoadedError
from bpf.pins import Pins
from bpf.programspec import FROM_OVERLAY, SOCK4_CONNECT, AttachType
from bpf.requirements import mounts
from bpf.syscall import LinkInfo, program_query

pytestmark = pytest.mark.root


@pytest.fixture
def cgroup() -> Iterator[Path]:
    root = next(mount.path for mount in mounts() if mount.type == "cgroup2")
    path = root / f"clustermesh-link-{os.getpid()}"
    path.mkdir()
    yield path
    if path.exists():
        path.rmdir()


@pytest.fixture
def pins(loaded_root: Path) -> Iterator[Pins]:
    pins = Pins(loaded_root)
    pins.links.mkdir(exist_ok=True)
    yield pins
    link.detach(pins, SOCK4_CONNECT, "cgroup")


def attach(pins: Pins, cgroup: Path) -> LinkInfo:
    with link.cgroup(cgroup) as target:
        link.attach(pins, SOCK4_CONNECT, target)
        fd = target.handle
        info = link.read(pins.link(SOCK4_CONNECT, "cgroup"))
        assert program_query(fd, AttachType.CGROUP_INET4_CONNECT) == [info.program_id]
    return info


def test_attaching_twice_is_attaching_once(pins: Pins, cgroup: Path) -> None:
    assert attach(pins, cgroup) == attach(pins, cgroup)


def test_a_cgroup_made_anew_gets_a_link_of_its_own(pins: Pins, cgroup: Path) -> None:
    first = attach(pins, cgroup)
    cgroup.rmdir()
    cgroup.mkdir()
    second = attach(pins, cgroup)
    assert first.id != second.id
    assert second.target == cgroup.stat().st_ino


async def test_detaching_empties_the_hook(pins: Pins, cgroup: Path) -> None:
    attach(pins, cgroup)
    link.detach(pins, SOCK4_CONNECT, "cgroup")
    with link.cgroup(cgroup) as target:  # the kernel frees a link in a work queue
        await eventually(lambda: program_query(target.handle, AttachType.CGROUP_INET4_CONNECT) == [])


async def test_replacing_drops_the_pin_of_a_link_whose_cgroup_has_gone(pins: Pins, cgroup: Path) -> None:
    attach(pins, cgroup)
    cgroup.rmdir()
    pin = pins.link(SOCK4_CONNECT, "cgroup")
    await eventually(lambda: link.read(pin).target == 0)  # the kernel lets go of it a little later
    link.replace_program(pins, SOCK4_CONNECT)
    assert pins.links_of(SOCK4_CONNECT) == []


def test_what_cannot_be_attached_is_an_error_that_names_it(pins: Pins, tmp_path: Path) -> None:
    with pytest.raises(AttachError, match="cannot open the cgroup"), link.cgroup(tmp_path / "absent"):
        pass
    with pytest.raises(AttachError, match="cil_from_overlay to 999999"):
        link.attach(pins, FROM_OVERLAY, link.device(999_999))
    with pytest.raises(NotLoadedError, match="no program"):
        link.attach(Pins(tmp_path), FROM_OVERLAY, link.device(1))
