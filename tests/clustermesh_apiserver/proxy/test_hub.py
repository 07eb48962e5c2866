"""Who shares a watch at etcd with whom, who goes over to whom, and who is told what when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.proxy import hub as hub_module
from clustermesh_apiserver.proxy.feed import ALONE_LAG, Selection
from clustermesh_apiserver.proxy.feedwatch import Watch
from clustermesh_apiserver.proxy.hub import MAX_LAG, Hub, TooManyFeeds, running_hub
from clustermesh_apiserver.proxy.reply import Cancelled
from clustermesh_apiserver.proxy.ring import Lapsed
from clustermesh_apiserver.proxy.source import Head, Lost
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.answers import Told, events, header, told
from tests.clustermesh_apiserver.proxy.scripted_source import LOST, ScriptedSource

NODES = Selection(b"nodes/", b"nodes0")
HEAD = Head(100, False)
EXACT = Head(100, True)


class Watcher:
    """Takes whatever it can whenever it is woken, unless it is slow."""

    def __init__(
        self, hub: Hub, start: int, *, selection: Selection = NODES, head: Head = HEAD, is_slow: bool = False
    ) -> None:
        self.got: list[bytes] = []
        self.ending: Cancelled | Lost | None = None
        self.is_slow = is_slow
        self.watch: Watch = hub.join(selection, start, head, self._woken)

    @property
    def told(self) -> list[Told]:
        return told(self.got)

    def _woken(self) -> None:
        if not self.is_slow:
            self.take_all()

    def take_all(self) -> None:
        while (batch := self.watch.take()) is not None:
            self.got.append(batch.raw)
        self.ending = self.ending or self.watch.take_ending()


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


@pytest.fixture
async def hub(source: ScriptedSource) -> AsyncIterator[Hub]:
    async with running_hub(source) as hub:
        yield hub
    assert source.open_watches == []


async def gets(watcher: Watcher, *expected: Told) -> None:
    await eventually(lambda: watcher.told == list(expected))


async def test_watchers_of_the_same_range_share_one_watch_at_etcd(hub: Hub, source: ScriptedSource) -> None:
    watchers = [Watcher(hub, start) for start in (101, 101, 103)]
    source.watches[0].say(events([(101, b"a")]), events([(104, b"b")]))
    for watcher in watchers[:2]:
        await gets(watcher, (101, b"a"), (104, b"b"))
    await gets(watchers[2], (104, b"b"))
    assert len(source.watches) == 1
    asked = source.watches[0].create
    assert (asked.key, asked.range_end, asked.start_revision) == (b"nodes/", b"nodes0", 101)


@pytest.mark.parametrize(
    "other", [Selection(b"nodes/", b"nodes1"), Selection(b"nodes/", b"nodes0", prev_kv=True)], ids=str
)
async def test_watches_that_ask_for_something_else_have_their_own(
    hub: Hub, source: ScriptedSource, other: Selection
) -> None:
    Watcher(hub, 101)
    Watcher(hub, 101, selection=other)
    assert len(source.watches) == 2
    assert source.watches[1].create.prev_kv == other.prev_kv


async def test_who_comes_later_is_served_what_it_missed_from_the_ring(
    hub: Hub, source: ScriptedSource
) -> None:
    first = Watcher(hub, 101)
    source.watches[0].say(events([(101, b"a"), (102, b"b")]), events([(103, b"c")]))
    await gets(first, (101, b"a"), (102, b"b"), (103, b"c"))
    late = Watcher(hub, 102)
    late.take_all()
    assert late.told == [(102, b"b"), (103, b"c")]
    assert len(source.watches) == 1


async def test_older_history_is_read_apart_until_nothing_is_missing_in_between(
    hub: Hub, source: ScriptedSource
) -> None:
    first = Watcher(hub, 101)
    old = Watcher(hub, 50)
    lead, history = source.watches
    lead.say(events([(101, b"d"), (102, b"e")]))
    await gets(first, (101, b"d"), (102, b"e"))
    assert old.told == []
    history.say(events([(60, b"a"), (99, b"b")]))
    await gets(old, (60, b"a"), (99, b"b"))
    assert source.open_watches == [lead, history]
    history.say(events([(101, b"d")]))  # now it stands where the lead's ring begins
    await gets(old, (60, b"a"), (99, b"b"), (101, b"d"), (102, b"e"))
    await eventually(lambda: source.open_watches == [lead])
    lead.say(events([(103, b"f")]))
    await gets(old, (60, b"a"), (99, b"b"), (101, b"d"), (102, b"e"), (103, b"f"))


async def test_word_that_nothing_happened_lets_a_watcher_go_over_too(
    hub: Hub, source: ScriptedSource
) -> None:
    Watcher(hub, 101)
    Watcher(hub, 50)
    lead, history = source.watches
    history.say(m.WatchResponse(header=header(100)).SerializeToString())
    await eventually(lambda: source.open_watches == [lead])


async def test_a_watcher_of_deep_history_does_not_hold_up_newcomers(hub: Hub, source: ScriptedSource) -> None:
    head = Head(10 * MAX_LAG, False)
    Watcher(hub, 1, head=head)
    newcomer = Watcher(hub, head.revision + 1, head=head)
    assert len(source.watches) == 2
    source.watches[1].say(events([(head.revision + 1, b"new")]))
    await gets(newcomer, (head.revision + 1, b"new"))


async def test_a_watcher_of_the_future_gets_nothing_early_and_misleads_nobody(
    hub: Hub, source: ScriptedSource
) -> None:
    future = Watcher(hub, 103)
    now = Watcher(hub, 101)
    assert len(source.watches) == 1
    source.watches[0].say(events([(101, b"a")]), events([(102, b"b"), (103, b"c")]))
    await gets(now, (101, b"a"), (102, b"b"), (103, b"c"))
    await gets(future, (103, b"c"))


async def test_compaction_ends_only_those_whose_history_is_gone(hub: Hub, source: ScriptedSource) -> None:
    gone, at_the_edge, kept = Watcher(hub, 20), Watcher(hub, 90), Watcher(hub, 91)
    compacted = m.WatchResponse(header=header(100), canceled=True, compact_revision=90)
    source.watches[0].say(compacted.SerializeToString())
    await eventually(lambda: gone.ending is not None)
    assert isinstance(gone.ending, Cancelled)
    assert (gone.ending.compacted, gone.ending.raw) == (90, compacted.SerializeToString())
    await eventually(lambda: len(source.watches) == 2)
    assert at_the_edge.ending == gone.ending
    assert source.watches[1].create.start_revision == 91
    source.watches[1].say(events([(101, b"a")]))
    await gets(kept, (101, b"a"))
    assert kept.ending is None


async def test_everything_that_came_before_the_end_is_given_out_first(
    hub: Hub, source: ScriptedSource
) -> None:
    slow = Watcher(hub, 101, is_slow=True)
    source.watches[0].say(events([(101, b"a")]))
    source.watches[0].lose()
    await eventually(lambda: slow.watch.feed.ending is not None)
    assert slow.watch.take_ending() is None
    slow.take_all()
    assert slow.told == [(101, b"a")]
    assert slow.ending == Lost(LOST)


async def test_who_comes_after_a_loss_does_not_join_what_is_lost(hub: Hub, source: ScriptedSource) -> None:
    first = Watcher(hub, 101)
    source.watches[0].lose()
    await eventually(lambda: first.ending is not None)
    second = Watcher(hub, 101)
    source.watches[1].say(events([(101, b"a")]))
    await gets(second, (101, b"a"))


async def test_another_etcd_cluster_behind_the_address_is_a_loss(hub: Hub, source: ScriptedSource) -> None:
    watcher = Watcher(hub, 101)
    source.watches[0].say(events([(101, b"a")]), events([(102, b"b")], cluster_id=5))
    await eventually(lambda: isinstance(watcher.ending, Lost))
    assert watcher.told == [(101, b"a")]


async def test_a_slow_watcher_lapses_and_holds_up_nobody(
    hub: Hub, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RING_BYTES", 10_000)
    fast, slow = Watcher(hub, 101), Watcher(hub, 101, is_slow=True)
    for revision in range(101, 151):
        source.watches[0].say(events([(revision, b"k")], value=bytes(1000)))
    await gets(fast, *((revision, b"k") for revision in range(101, 151)))
    assert slow.watch.has_lapsed
    with pytest.raises(Lapsed):
        slow.take_all()
    assert hub.totals().ring_bytes <= 10_000


async def test_history_is_not_read_faster_than_the_fastest_watcher_takes_it(
    hub: Hub, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RING_BYTES", 10_000)
    head = Head(2 * ALONE_LAG, False)
    watcher = Watcher(hub, 101, head=head, is_slow=True)
    assert source.watches[0].alone
    for revision in range(101, 151):
        source.watches[0].say(events([(revision, b"k")], value=bytes(1000)))
    await eventually(lambda: watcher.watch.feed.ring.bytes > 5_000)
    assert source.watches[0].given < 8
    watcher.is_slow = False
    watcher.take_all()
    await gets(watcher, *((revision, b"k") for revision in range(101, 151)))


async def test_live_events_are_read_on_where_nobody_takes_them(
    hub: Hub, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their stream is shared with others' watches."""
    monkeypatch.setattr(hub_module, "RING_BYTES", 10_000)
    watcher = Watcher(hub, 101, is_slow=True)
    assert not source.watches[0].alone
    for revision in range(101, 151):
        source.watches[0].say(events([(revision, b"k")], value=bytes(1000)))
    await eventually(lambda: source.watches[0].given == 50 and watcher.watch.has_lapsed)


async def test_all_rings_together_are_bounded_and_the_longest_gives_way(
    hub: Hub, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ALL_RINGS_BYTES", 20_000)
    busy, quiet = Watcher(hub, 101), Watcher(hub, 101, selection=Selection(b"ip/", b"ip0"))
    source.watches[1].say(events([(101, b"q")], value=bytes(1000)))
    await gets(quiet, (101, b"q"))
    for revision in range(101, 151):
        source.watches[0].say(events([(revision, b"k")], value=bytes(1000)))
    await eventually(lambda: len(busy.told) == 50)
    assert hub.totals().ring_bytes <= 20_000
    assert quiet.watch.feed.ring.bytes > 1000
    quiet.watch.close()
    busy.watch.close()
    assert hub.totals().ring_bytes == 0


async def test_watchers_of_deep_history_share_what_they_can(hub: Hub, source: ScriptedSource) -> None:
    head = Head(10 * MAX_LAG, False)
    for start in (1, 2, 2 + MAX_LAG, 9 * MAX_LAG):
        Watcher(hub, start, head=head)
    assert [watch.create.start_revision for watch in source.watches] == [1, 2 + MAX_LAG, 9 * MAX_LAG]


async def test_the_last_watcher_takes_the_watch_at_etcd_with_it(hub: Hub, source: ScriptedSource) -> None:
    first, second = Watcher(hub, 101), Watcher(hub, 101)
    first.watch.close()
    assert len(source.open_watches) == 1
    second.watch.close()
    second.watch.close()
    assert source.open_watches == []


async def test_there_is_a_bound_for_distinct_watches(
    hub: Hub, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_FEEDS", 2)
    for key in (b"a", b"b"):
        Watcher(hub, 101, selection=Selection(key, b""))
    with pytest.raises(TooManyFeeds):
        Watcher(hub, 101, selection=Selection(b"c", b""))
    Watcher(hub, 101, selection=Selection(b"b", b""))
    with pytest.raises(TooManyFeeds):
        hub.join(NODES, 101, HEAD, lambda: None, lambda: False)


@pytest.mark.parametrize(("head", "said"), [(HEAD, 101), (EXACT, 120)], ids=["old etcd", "exact etcd"])
async def test_progress_is_what_etcds_answer_guarantees(
    hub: Hub, source: ScriptedSource, head: Head, said: int
) -> None:
    """An older etcd's answer may overtake events: only what has come is certain."""
    watcher = Watcher(hub, 101, head=head)
    source.watches[0].say(events([(101, b"a")]))
    await gets(watcher, (101, b"a"))
    watcher.watch.ask_progress()
    assert watcher.watch.take_confirmed() is None
    await eventually(lambda: source.watches[0].progress_asked == 1)
    source.watches[0].say(m.WatchResponse(header=header(120), watch_id=-1).SerializeToString())
    confirmed: list[int] = []

    def is_confirmed() -> bool:
        revision = watcher.watch.take_confirmed()
        confirmed.extend([revision] if revision is not None else [])
        return bool(confirmed)

    await eventually(is_confirmed)
    assert confirmed == [said]
    assert watcher.watch.take_confirmed() is None


async def test_unasked_word_of_progress_reaches_each_watcher_once_where_it_belongs(
    hub: Hub, source: ScriptedSource
) -> None:
    watcher = Watcher(hub, 101)
    raw = m.WatchResponse(header=header(120)).SerializeToString()
    source.watches[0].say(events([(101, b"a")]), raw)
    await eventually(lambda: watcher.watch.feed.progress is not None)
    assert watcher.watch.take_progress() == raw
    assert watcher.watch.take_progress() is None
    newcomer = Watcher(hub, 121)
    assert newcomer.watch.take_progress() is None
    source.watches[0].say(raw, events([(121, b"b")]))
    await gets(newcomer, (121, b"b"))
    assert watcher.watch.take_progress() is None  # events have come since: old news


async def test_many_questions_for_progress_are_one_at_etcd(hub: Hub, source: ScriptedSource) -> None:
    watchers = [Watcher(hub, 101) for _ in range(20)]
    for watcher in watchers:
        watcher.watch.ask_progress()
    await eventually(lambda: source.watches[0].progress_asked > 0)
    assert source.watches[0].progress_asked == 1
