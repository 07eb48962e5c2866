"""The ledger against a store that may forget, fail and be changed by others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.backend import KeyValue
from kvstore.digest import Digest
from kvstore.ledger import Ledger, Step

# Few keys and values, so that histories come back to where they were: that is where belief misleads.
KEYS = st.sampled_from([b"a", b"b"])
VALUES = st.sampled_from([b"1", b"2"])
LEASE = 7

ACTIONS = st.lists(
    st.tuples(st.just("upsert"), KEYS, VALUES)
    | st.tuples(st.just("remove"), KEYS, st.just(b""))
    | st.tuples(st.just("foreign put"), KEYS, VALUES)
    | st.tuples(st.just("foreign delete"), KEYS, st.just(b""))
    | st.tuples(
        st.sampled_from(["flush", "fail", "doubt", "expire", "compare", "listed", "digest"]), KEYS, VALUES
    ),
    max_size=12,
)


class World:
    """A ledger, the store it writes to, and what the source really wants."""

    def __init__(self, leftovers: dict[bytes, bytes]) -> None:
        self.ledger = Ledger()
        self.store = {key: (value, 1) for key, value in leftovers.items()}
        self.wanted: dict[bytes, bytes] = {}
        self.removed: set[bytes] = set()  # what the source took back itself
        self.compare()

    def compare(self) -> None:
        pairs = [KeyValue(key, value, 1, lease) for key, (value, lease) in self.store.items()]
        self.ledger.observe(pairs, lambda _: LEASE)

    def write(self, step: Step) -> None:
        if step.value is None:
            assert self.ledger.is_listed or step.key in self.removed  # never deletes on a guess
            self.store.pop(step.key, None)
        else:
            self.store[step.key] = (step.value, LEASE)

    def flush(self, *, fails: bool = False, written: bool = True) -> None:
        for step in self.ledger.take(3, 1000):
            if self.ledger.is_stored(step, LEASE):
                self.ledger.done(step, LEASE)
                continue
            if written:
                self.write(step)
            if fails:
                self.ledger.failed(step)
            else:
                self.ledger.done(step, LEASE)

    def act(self, action: str, key: bytes, value: bytes) -> None:
        match action:
            case "upsert":
                self.wanted[key] = value
                self.ledger.upsert(key, value)
            case "remove":
                self.wanted.pop(key, None)
                self.removed.add(key)
                self.ledger.remove(key)
            case "foreign put":
                self.store[key] = (value, 0)
            case "foreign delete":
                self.store.pop(key, None)
            case "flush":
                self.flush()
            case "fail":
                self.flush(fails=True, written=False)
            case "doubt":  # written, but the answer was lost
                self.flush(fails=True)
            case "expire":
                gone = [name for name, (_, lease) in self.store.items() if lease == LEASE]
                for name in gone:
                    del self.store[name]
                self.ledger.lost(gone)
            case "compare":
                self.compare()
            case "listed":
                self.ledger.mark_listed()
            case "digest":
                self.ledger.digest_some(1)

    def settle(self) -> None:
        self.compare()
        while self.ledger.queued:
            self.flush()


@settings(max_examples=300)
@given(st.dictionaries(KEYS, VALUES), ACTIONS)
def test_after_any_history_the_store_has_what_is_wanted_with_our_lease(
    leftovers: dict[bytes, bytes], actions: list[tuple[str, bytes, bytes]]
) -> None:
    world = World(leftovers)
    for action in actions:
        world.act(*action)
    world.ledger.mark_listed()
    world.settle()

    assert world.store == {key: (value, LEASE) for key, value in world.wanted.items()}
    assert (world.ledger.pending, world.ledger.stored) == (0, len(world.wanted))
    assert not world.ledger.digest_some(100)
    expected = Digest()
    for key, value in world.wanted.items():
        expected.toggle(key, value)
    assert world.ledger.digest == str(expected)


@settings(max_examples=300)
@given(st.dictionaries(KEYS, VALUES), ACTIONS)
def test_without_foreign_changes_no_compare_is_needed(
    leftovers: dict[bytes, bytes], actions: list[tuple[str, bytes, bytes]]
) -> None:
    world = World(leftovers)
    for action in [*actions, ("listed", b"", b"")]:
        if not action[0].startswith("foreign"):
            world.act(*action)
    while world.ledger.queued:
        world.flush()

    assert world.store == {key: (value, LEASE) for key, value in world.wanted.items()}
    assert (world.ledger.pending, world.ledger.stored) == (0, len(world.wanted))


def test_what_stands_there_already_is_not_written_again() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"1")
    ledger.observe([KeyValue(b"a", b"1", 1, LEASE)], lambda _: LEASE)
    (step,) = ledger.take(10, 1000)

    assert ledger.is_stored(step, LEASE)
    assert not ledger.is_stored(step, LEASE + 1)


def test_after_a_write_whose_answer_was_lost_even_the_old_value_is_written() -> None:
    world = World({})
    for action in (("upsert", b"a", b"1"), ("flush", b"", b""), ("upsert", b"a", b"2"), ("doubt", b"", b"")):
        world.act(*action)
    world.act("upsert", b"a", b"1")
    world.act("flush", b"", b"")

    assert world.store == {b"a": (b"1", LEASE)}


def test_what_an_ended_lease_took_is_written_again_without_a_compare() -> None:
    world = World({})
    for action in (("upsert", b"a", b"1"), ("flush", b"", b""), ("expire", b"", b""), ("flush", b"", b"")):
        world.act(*action)

    assert world.store == {b"a": (b"1", LEASE)}


def test_an_entry_is_pending_until_it_is_known_to_be_stored() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"1")
    steps = ledger.take(1, 10)
    assert (ledger.queued, ledger.pending) == (0, 1)
    ledger.upsert(b"a", b"2")
    ledger.refused(*steps)
    assert (ledger.queued, ledger.parked) == (1, 0)  # the change is a new try
    (step,) = ledger.take(1, 10)
    ledger.done(step, LEASE)

    assert ledger.pending == 0


def test_a_batch_is_bounded_by_count_and_bytes_but_never_empty() -> None:
    ledger = Ledger()
    for key in (b"a", b"b", b"c", b"d"):
        ledger.upsert(key, b"x" * 100)

    assert [step.key for step in ledger.take(2, 10_000)] == [b"a", b"b"]
    assert [step.key for step in ledger.take(2, 50)] == [b"c"]


def test_a_refused_entry_waits_for_the_next_compare_or_change() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"1")
    ledger.refused(*ledger.take(1, 10))
    assert (ledger.queued, ledger.parked) == (0, 1)
    ledger.observe([], lambda _: LEASE)
    assert (ledger.queued, ledger.parked) == (1, 0)

    ledger.refused(*ledger.take(1, 10))
    ledger.upsert(b"a", b"2")
    assert (ledger.queued, ledger.parked) == (1, 0)


def heard(ledger: Ledger) -> list[float | None]:
    return [step.heard for step in ledger.take(10, 1000)]


def test_a_change_has_waited_since_it_was_first_asked_for() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"1", 10.0)
    ledger.upsert(b"a", b"2", 11.0)
    [step] = ledger.take(1, 1000)
    ledger.upsert(b"a", b"3", 12.0)
    ledger.failed(step)
    assert heard(ledger) == [10.0]


def test_what_is_due_without_anybody_asking_has_not_waited_until_somebody_asks() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"1", 10.0)
    ledger.done(ledger.take(1, 1000)[0], LEASE)
    ledger.lost([b"a"])
    ledger.lost([b"a"])
    assert heard(ledger) == [None]
    ledger.lost([b"a"])
    ledger.upsert(b"a", b"2", 20.0)
    assert heard(ledger) == [20.0]


def test_a_step_that_did_not_fit_keeps_its_time() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"x" * 10, 1.0)
    ledger.upsert(b"b", b"x" * 10, 2.0)
    assert [step.heard for step in ledger.take(10, 12)] == [1.0]
    assert heard(ledger) == [2.0]
