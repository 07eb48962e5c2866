import pytest

from aiokit.wait import eventually


async def test_it_returns_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True])
    await eventually(lambda: next(answers), interval=0)
    assert next(answers, None) is None


async def test_a_coroutine_may_be_the_condition() -> None:
    async def holds() -> bool:
        return True

    await eventually(holds)
    assert await holds()


async def test_the_error_names_what_did_not_become_true() -> None:
    with pytest.raises(TimeoutError, match="lambda: not True"):
        await eventually(lambda: not True, timeout=0.01, interval=0.001)
