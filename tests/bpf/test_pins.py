"""Where things are pinned, and that nothing stays."""

from pathlib import Path

from bpf.pins import Pins
from bpf.programspec import FROM_CONTAINER, SOCK4_CONNECT
from bpf.spec import IPCACHE


def test_paths_carry_the_schema_s_version() -> None:
    pins = Pins(Path("/bpf/node"))
    assert pins.map(IPCACHE) == Path("/bpf/node/v1/maps/cilium_ipcache_v2")
    assert pins.program(FROM_CONTAINER) == Path("/bpf/node/v1/progs/cil_from_container")
    assert pins.link(SOCK4_CONNECT, "cgroup") == Path("/bpf/node/v1/links/cil_sock4_connect-cgroup")


def test_a_program_s_links_are_found_by_its_name(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    assert pins.links_of(FROM_CONTAINER) == []
    pins.links.mkdir(parents=True)
    for name in ("cil_from_container-7", "cil_from_container-12", "cil_from_overlay-3", "else"):
        (pins.links / name).touch()
    assert [path.name for path in pins.links_of(FROM_CONTAINER)] == [
        "cil_from_container-12",
        "cil_from_container-7",
    ]


def test_removing_takes_everything_of_ours_and_nothing_of_others(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    for path in (pins.link(FROM_CONTAINER, "7"), pins.program(FROM_CONTAINER), pins.map(IPCACHE)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    other = tmp_path / "v0"
    other.mkdir()
    pins.remove_all()
    pins.remove_all()
    assert list(tmp_path.iterdir()) == [other]
