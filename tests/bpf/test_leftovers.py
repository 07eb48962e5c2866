"""What is told to be ours below a root, and what stays. Names only: these are plain files."""

from __future__ import annotations

from pathlib import Path

from bpf import leftovers


def made(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pins_of_every_version_are_found_by_their_names_and_others_are_not_ours(tmp_path: Path) -> None:
    ours = ("v1/progs/cil_from_netdev", "v1/progs/cil_from_netdev_new", "v2/progs/cil_new")
    maps = ("v1/maps/cilium_lxc", "v2/maps/cilium_of_a_later_one")
    others = ("v1/maps/theirs", "v1/progs/cilium_lxc", "v1/other", "tool/pin", "v1x/maps/cilium_lxc")
    made(tmp_path, *ours, *maps, *others)
    found = leftovers.find(tmp_path)
    assert {str(pin.relative_to(tmp_path)) for pin in found.programs} == {*ours}
    assert {str(pin.relative_to(tmp_path)) for pin in found.maps} == {*maps}
    assert {str(pin.relative_to(tmp_path)) for pin in found.foreign} == {*others[:3], "tool", "v1x"}
    for pin in (*found.programs, *found.maps):
        leftovers.remove(pin)
        leftovers.remove(pin)
    leftovers.remove_folders(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*others}
    assert not (tmp_path / "v2").exists()


def test_a_root_that_is_empty_goes_and_one_that_is_absent_has_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert leftovers.find(root) == leftovers.Found()
    leftovers.remove_folders(root)
    made(root, "v1/maps/cilium_lxc")
    leftovers.remove(root / "v1/maps/cilium_lxc")
    leftovers.remove_folders(root)
    assert list(tmp_path.iterdir()) == []
