"""Every Python layout against the BTF that the kernel holds for the loaded map; bpftool reads it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bpf.layout import Layout
from bpf.pins import Pins
from bpf.spec import MAPS, MapSpec, MapType


def bpftool(*arguments: str | Path) -> Any:
    output = subprocess.run(["bpftool", "-j", *arguments], check=True, capture_output=True, timeout=20).stdout
    return json.loads(output)


def compiled(types: dict[int, dict[str, Any]], layout: Layout) -> tuple[int, dict[str, tuple[int, int]]]:
    """Size of the compiled struct, and field -> (offset, size)."""
    named = [each for each in types.values() if each["name"] == layout.name]
    assert len(named) == 1, f"{layout.name}: {named}"
    (found,) = named
    if found["kind"] == "INT":
        return found["size"], {layout.fields[0][0]: (0, found["size"])}
    assert found["kind"] == "STRUCT"
    members = {m["name"]: (m["bits_offset"] // 8, size_of(types, m["type_id"])) for m in found["members"]}
    return found["size"], members


def size_of(types: dict[int, dict[str, Any]], number: int) -> int:
    found = types[number]
    if found["kind"] == "ARRAY":
        return int(found["nr_elems"]) * size_of(types, found["type_id"])
    if "size" in found:
        return int(found["size"])
    return size_of(types, found["type_id"])


KEYED = [spec for spec in MAPS if spec.type is not MapType.RINGBUF]


@pytest.mark.parametrize("spec", KEYED, ids=lambda spec: spec.name)
def test_a_layout_equals_the_compiled_struct_in_sizes_and_offsets(loaded_root: Path, spec: MapSpec) -> None:
    shown = bpftool("map", "show", "pinned", Pins(loaded_root).map(spec))
    types = {each["id"]: each for each in bpftool("btf", "dump", "id", str(shown["btf_id"]))["types"]}
    for layout in (spec.key, spec.value):
        assert compiled(types, layout) == (layout.size, layout.offsets)


@pytest.mark.parametrize("spec", KEYED, ids=lambda spec: spec.name)
def test_bpftool_shows_a_map_under_its_name_with_named_fields(loaded_root: Path, spec: MapSpec) -> None:
    shown = bpftool("map", "show", "pinned", Pins(loaded_root).map(spec))
    assert shown["name"] == spec.name[:15]  # the kernel keeps 15 characters
    assert shown["btf_id"] > 0


def test_a_layout_packs_fields_at_its_offsets() -> None:
    layout = Layout("sample", (("first", "H"), ("second", "4s"), ("third", "I")))
    raw = layout.pack(1, b"ab", 2)
    assert raw == b"\x01\x00ab\x00\x00\x02\x00\x00\x00"
    assert layout.offsets == {"first": (0, 2), "second": (2, 4), "third": (6, 4)}
    assert layout.unpack(raw) == (1, b"ab\0\0", 2)
