"""The reducer: whatever happens between peer and consumer, the consumer ends up with what the peer has."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from kvstore.watch import Change, Changes, Delta, Event, Listed, Listing, Pair, WatchState, Whole

KEYS = st.sampled_from([b"a", b"b", b"c"])
VALUES = st.binary(max_size=1)
ENTRIES = st.dictionaries(KEYS, VALUES)
CHANGES = st.lists(st.tuples(KEYS, VALUES | st.none()), max_size=6)


@dataclass
class Consumer:
    """Applies deltas, and fails on one that is needless, impossible or a loss."""

    entries: dict[bytes, bytes]
    synced: int = 0

    def apply(self, delta: Delta, peer: dict[bytes, bytes]) -> None:
        upserted, removed = [key for key, _ in delta.upserts], delta.removes
        assert len({*upserted, *removed}) == len(upserted) + len(removed)  # each key once
        for key, value in delta.upserts:
            assert self.entries.get(key) != value  # no needless write
            self.entries[key] = value
        for key in removed:
            assert key not in peer  # never a loss of what the peer still has
            del self.entries[key]  # nor a removal of what is not there
        self.synced += delta.synced


def applied(entries: dict[bytes, bytes], changes: list[Change]) -> dict[bytes, bytes]:
    after = dict(entries)
    for key, value in changes:
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after


@dataclass
class Connection:
    """One connection's life: how its list is cut, how far it comes, and what happens meanwhile."""

    chunk: int
    chunks_delivered: int  # the link may break before the list is complete
    batches: list[list[Change]] = field(default_factory=list)
    repeats: int = 1  # how often each batch is delivered: a resumed stream may repeat itself
    missed: list[Change] = field(default_factory=list)  # what happens after the break

    def events(self, peer: dict[bytes, bytes]) -> list[tuple[Event, dict[bytes, bytes]]]:
        """What is delivered, each with what the peer has by then."""
        pairs: list[Pair] = sorted(peer.items())
        chunks = [pairs[at : at + self.chunk] for at in range(0, len(pairs), self.chunk)] or [[]]
        events: list[tuple[Event, dict[bytes, bytes]]] = [(Listing(chunk), peer) for chunk in chunks]
        if self.chunks_delivered < len(chunks):
            return events[: self.chunks_delivered]
        events.append((Listed(1), peer))
        for batch in self.batches:
            peer = applied(peer, batch)
            events += [(Changes(2, batch), peer)] * self.repeats
        return events

    def after(self, peer: dict[bytes, bytes]) -> dict[bytes, bytes]:
        for batch in [*self.batches, self.missed]:
            peer = applied(peer, batch)
        return peer


CONNECTIONS = st.builds(
    Connection,
    st.integers(1, 3),
    st.integers(0, 4),
    st.lists(CHANGES, max_size=3),
    st.integers(1, 2),
    CHANGES,
)


@given(ENTRIES, ENTRIES, st.lists(CONNECTIONS, max_size=4), st.lists(CHANGES, max_size=3))
def test_any_history_of_connections_converges(
    held: dict[bytes, bytes],
    peer: dict[bytes, bytes],
    broken: list[Connection],
    last: list[list[Change]],
) -> None:
    consumer = Consumer(dict(held))
    for connection in [*broken, Connection(2, 9, last)]:
        state = WatchState(Whole(consumer.entries))
        for event, peer_then in connection.events(peer):
            consumer.apply(state.apply(event), peer_then)
        peer = connection.after(peer)
    assert consumer.entries == peer
    assert consumer.synced >= 1


@given(ENTRIES, ENTRIES)
def test_before_the_list_is_complete_nothing_is_removed(
    held: dict[bytes, bytes], peer: dict[bytes, bytes]
) -> None:
    delta = WatchState(Whole(held)).apply(Listing(sorted(peer.items())))

    assert delta.removes == [] and not delta.synced


@given(ENTRIES)
def test_a_reconnection_without_change_is_silent_but_for_synced(held: dict[bytes, bytes]) -> None:
    state = WatchState(Whole(held))

    assert not state.apply(Listing(sorted(held.items())))
    assert state.apply(Listed(1)) == Delta(synced=True)


def test_progress_is_an_empty_delta() -> None:
    assert not WatchState(Whole({})).apply(Changes(7, []))


def test_the_last_change_of_a_key_in_one_batch_wins() -> None:
    state = WatchState(Whole({b"a": b"1"}))
    delta = state.apply(Changes(7, [(b"a", b"2"), (b"b", b"1"), (b"b", None), (b"a", b"1")]))

    assert not delta


def test_what_the_consumer_holds_is_not_changed_behind_its_back() -> None:
    held = {b"a": b"1"}
    WatchState(Whole(held)).apply(Listed(1))

    assert held == {b"a": b"1"}
