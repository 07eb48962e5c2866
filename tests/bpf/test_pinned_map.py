"""Map operations on real kernel maps, full and half-failing ones included."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf import ipcache_map, syscall
from bpf.datapath import Datapath
from bpf.errors import MapError, MapFullError, NotLoadedError, SchemaError
from bpf.pinned_map import PinnedMap
from bpf.pins import Pins
from bpf.spec import CT4, IPCACHE, LB4_BACKENDS, MapType

ENTRIES = st.dictionaries(st.binary(min_size=4, max_size=4), st.binary(min_size=8, max_size=8))
Make = Callable[..., PinnedMap]


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as opened:

        def make_map(kind: MapType, entries: int, key: int = 4, value: int = 8) -> PinnedMap:
            flags = 0 if kind is MapType.LRU_HASH else 1
            fd = syscall.map_create(kind, key, value, entries, flags)
            return opened.enter_context(PinnedMap("sample", fd))

        yield make_map


def number(n: int) -> bytes:
    return n.to_bytes(4, "big")


def lpm(n: int) -> bytes:
    return (32).to_bytes(4, "little") + number(n)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ENTRIES, ENTRIES)
def test_a_map_holds_what_was_written_less_what_was_deleted(
    make: Make, first: dict[bytes, bytes], second: dict[bytes, bytes]
) -> None:
    table = make(MapType.HASH, 1024)
    table.update(first.items())
    table.update(second.items())
    assert table.dump() == first | second
    assert all(table.lookup(key) == value for key, value in second.items())
    table.delete(first)
    assert table.dump() == {k: v for k, v in second.items() if k not in first}


def test_ten_thousand_entries_go_in_and_out_of_the_ipcache_in_any_order(node: Datapath) -> None:
    entries = {
        ipcache_map.pack_key(f"10.{n % 7}.{n // 256}.{n % 256}"): ipcache_map.pack_value(
            65536 + n, "198.18.1.12"
        )
        for n in range(10_000)
    }
    node.ipcache.update(reversed(entries.items()))
    assert node.ipcache.dump() == entries
    node.ipcache.delete(entries)
    assert node.ipcache.dump() == {}


@pytest.mark.parametrize(
    ("kind", "key_of", "size"), [(MapType.HASH, number, 4), (MapType.LPM_TRIE, lpm, 8)], ids=["hash", "lpm"]
)
def test_a_full_map_says_how_many_entries_it_took(
    make: Make, kind: MapType, key_of: Callable[[int], bytes], size: int
) -> None:
    table = make(kind, 5000, key=size)  # a batch and a bit: the count must reach across batches
    items = {key_of(n): bytes(8) for n in range(6000)}
    with pytest.raises(MapFullError, match="full at 5000") as caught:
        table.update(items.items())
    assert caught.value.done == 5000
    assert table.dump().keys() == set(sorted(items)[:5000])


def test_an_lru_map_is_never_full(make: Make) -> None:
    table = make(MapType.LRU_HASH, 1024)
    table.update((number(n), bytes(8)) for n in range(5000))
    assert 0 < len(table.dump()) <= 1024


def test_deleting_what_is_absent_deletes_the_rest(make: Make) -> None:
    table = make(MapType.HASH, 1024)
    table.update((number(n), bytes(8)) for n in range(0, 20, 2))
    table.delete(number(n) for n in range(19))
    assert table.dump() == {}
    table.delete([number(1)])


def test_looking_up_what_is_absent_finds_nothing(make: Make) -> None:
    assert make(MapType.HASH, 8).lookup(number(1)) is None


def test_bytes_of_a_wrong_size_never_reach_the_kernel(make: Make) -> None:
    table = make(MapType.HASH, 8)
    with pytest.raises(MapError, match="expected"):
        table.update([(number(1), bytes(7))])
    with pytest.raises(MapError, match="expected"):
        table.delete([b"abc"])
    with pytest.raises(MapError, match="expected"):
        table.lookup(b"abcde")
    assert table.dump() == {}


def test_a_crowded_bucket_is_dumped_whole(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpf.pinned_map.BATCH", 1)  # so that two entries crowd a bucket
    table = make(MapType.HASH, 64)
    entries = {number(n): bytes(8) for n in range(64)}
    table.update(entries.items())
    assert table.dump() == entries


def test_a_pin_that_is_absent_or_different_is_not_opened(loaded_root: Path) -> None:
    pins = Pins(loaded_root)
    with pytest.raises(NotLoadedError, match="no map is pinned"):
        PinnedMap.open(pins.maps / "nothing", IPCACHE)
    with pytest.raises(SchemaError, match="key size is 14, not 24"):
        PinnedMap.open(pins.map(CT4), IPCACHE)
    with pytest.raises(MapError, match="cannot open"):
        PinnedMap.open(loaded_root / "a.b", LB4_BACKENDS)
