"""Loading, loading again, and what must stop it, on a real kernel."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import datapath, loader, node_config_map, syscall
from bpf.errors import BPFUnavailableError, CompileError, SchemaError
from bpf.loader import NodeOptions
from bpf.node_config_map import NodeConfig
from bpf.pinned_map import PinnedMap
from bpf.pins import Pins
from bpf.programspec import PROGRAMS
from bpf.spec import IPCACHE, MAPS, NODE_CONFIG, MapType
from tests.bpf.bpffs import pins

pytestmark = pytest.mark.root

OPTIONS = NodeOptions("198.18.1.11", 7)


@pytest.fixture
def root(bpffs: Path) -> Iterator[Path]:
    path = bpffs / "lab/east/node-1"
    yield path
    loader.unload(path)


def configured(root: Path) -> NodeConfig:
    with PinnedMap.open(Pins(root).map(NODE_CONFIG), NODE_CONFIG) as table:
        raw = table.lookup(node_config_map.KEY)
    assert raw is not None
    return node_config_map.unpack_value(raw)


def ids(root: Path) -> dict[str, int]:
    """Name -> kernel id of every pinned map and program."""
    found = {}
    for path, read in [(Pins(root).map(s), syscall.map_info) for s in MAPS] + [
        (Pins(root).program(s), syscall.program_info) for s in PROGRAMS
    ]:
        fd = syscall.obj_get(path)
        found[path.name] = read(fd).id
        os.close(fd)
    return found


def test_everything_of_the_spec_is_pinned_and_nothing_else(root: Path) -> None:
    loader.load(root, OPTIONS)
    assert pins(root) == sorted(
        [f"v1/maps/{spec.name}" for spec in MAPS] + [f"v1/progs/{spec.name}" for spec in PROGRAMS]
    )
    config = configured(root)
    assert (config.node_ip, config.vxlan_ifindex, config.mtu) == ("198.18.1.11", 7, 1450)


def test_loading_again_changes_only_the_node_s_settings(root: Path) -> None:
    loader.load(root, OPTIONS)
    before = ids(root)
    loader.load(root, NodeOptions("198.18.1.12", 8, 1400))
    assert ids(root) == before
    assert configured(root).vxlan_ifindex == 8


def test_changed_sources_replace_programs_and_keep_maps(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader.load(root, OPTIONS)
    before = ids(root)
    text, digest = loader.source_text(Pins(root))
    monkeypatch.setattr(loader, "source_text", lambda _: (text, hashlib.sha1(digest).digest()))
    loader.load(root, OPTIONS)
    after = ids(root)
    assert {name for name in before if before[name] != after[name]} == {spec.name for spec in PROGRAMS}


@pytest.mark.parametrize(
    "lost",
    [
        "v1/progs/cil_sock4_connect",
        "v1/maps/cilium_policy",
        "v1/maps/cilium_lb4_affinity",
        "v1/maps/cilium_node_config",
        "v1/maps/cilium_host_netns",
        "v1/maps/cilium_lb6_services_v2",
    ],
)
def test_a_lost_pin_is_made_again_with_programs_upon_the_present_maps(root: Path, lost: str) -> None:
    loader.load(root, OPTIONS)
    kept = ids(root)["cilium_ipcache_v2"]
    (root / lost).unlink()
    loader.load(root, OPTIONS)
    assert ids(root)["cilium_ipcache_v2"] == kept
    for spec in PROGRAMS:
        fd = syscall.obj_get(Pins(root).program(spec))
        assert syscall.program_info(fd).map_ids <= set(ids(root).values())
        os.close(fd)


def test_a_load_that_was_broken_off_is_mended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("bpf.link.replace_program", stop)
        with pytest.raises(KeyboardInterrupt):
            loader.load(root, OPTIONS)
    assert any(path.endswith("_new") for path in pins(root))
    loader.load(root, OPTIONS)
    assert len(pins(root)) == len(MAPS) + len(PROGRAMS)


def test_a_wrong_pin_is_neither_reused_nor_removed(root: Path) -> None:
    where = Pins(root).map(IPCACHE)
    where.parent.mkdir(parents=True)
    fd = syscall.map_create(MapType.HASH, 24, 20, 9)
    syscall.obj_pin(fd, where)
    os.close(fd)
    before = pins(root)
    with pytest.raises(SchemaError, match="type is 1, not 11, value size is 20, not 24, max entries is 9"):
        loader.load(root, OPTIONS)
    assert pins(root) == before


def test_unloading_leaves_nothing_and_needs_nothing(root: Path, bpffs: Path) -> None:
    loader.load(root, OPTIONS)
    with datapath.open(root) as opened:
        opened.unload()
    assert not (bpffs / "lab").exists()
    loader.unload(root)


def test_refused_programs_are_an_error_with_the_compiler_s_reason(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, digest = loader.source_text(Pins(root))
    broken = text.replace(
        "int cil_from_overlay", "int cil_from_overlay_oops = nothing;\nint cil_from_overlay"
    )
    monkeypatch.setattr(loader, "source_text", lambda _: (broken, digest))
    with pytest.raises(CompileError, match=r"overlay\.c:\d+.*nothing"):
        loader.load(root, OPTIONS)


def test_programs_refused_by_the_verifier_are_an_error_with_its_reason(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, digest = loader.source_text(Pins(root))
    guard = "\tif (!service->count)"
    broken = text.replace(f"\tif (!service)\n\t\treturn 0;\n{guard}", guard)
    assert broken != text
    monkeypatch.setattr(loader, "source_text", lambda _: (broken, digest))
    with pytest.raises(CompileError, match="cil_sock4_"):
        loader.load(root, OPTIONS)


def test_a_place_that_is_no_bpf_file_system_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(BPFUnavailableError, match="not on a BPF file system"):
        loader.load(tmp_path / "root", OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_the_text_has_every_source_once_under_its_own_name() -> None:
    text, digest = loader.source_text(Pins(Path("/x")))
    assert text.count('#line 1 "bpf/src/sock.c"') == 1
    assert '#define MAP_ROOT "/x/v1/maps"' in text
    assert '#include "' not in text
    assert digest != loader.source_text(Pins(Path("/y")))[1]
