import asyncio

from hypothesis import given
from hypothesis import strategies as st

from aiokit.table import Table

ENTRIES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2))


@given(st.lists(st.tuples(ENTRIES, st.lists(st.sampled_from("abc")))))
def test_commits_behave_like_a_dictionary_and_snapshots_never_change(
    commits: list[tuple[dict[str, int], list[str]]],
) -> None:
    table: Table[str, int] = Table()
    expected: dict[str, int] = {}
    seen = [(table.snapshot(), dict(expected))]
    for upserts, removes in commits:
        before = (dict(expected), table.snapshot().revision)
        expected = {k: v for k, v in expected.items() if k not in removes or k in upserts} | upserts
        revision = table.commit(upserts, removes)
        assert (revision > before[1]) == (expected != before[0])
        seen.append((table.snapshot(), dict(expected)))
    assert all(dict(snapshot.entries) == entries for snapshot, entries in seen)


async def test_a_waiter_wakes_on_the_next_revision_only() -> None:
    table: Table[str, int] = Table()
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(table.wait_newer(table.snapshot().revision), name="waiter")
        await asyncio.sleep(0)
        table.commit({}, ["absent"])
        await asyncio.sleep(0)
        assert not waiter.done()
        table.commit({"a": 1})
    assert waiter.done()


def test_completeness_is_a_revision_of_its_own() -> None:
    table: Table[str, int] = Table()
    table.mark_complete()
    assert (table.snapshot().revision, table.snapshot().complete) == (1, True)
    table.mark_complete()
    assert table.snapshot().revision == 1
