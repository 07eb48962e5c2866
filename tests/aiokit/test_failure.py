from aiokit.failure import first, leaves


def test_the_leaves_of_nested_groups_come_in_order() -> None:
    one, two, three = ValueError("1"), OSError("2"), KeyError("3")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [one, two]), three])
    assert list(leaves(group)) == [one, two, three]
    assert first(group) is one


def test_an_error_that_is_no_group_is_its_own_leaf() -> None:
    error = ValueError("1")
    assert list(leaves(error)) == [error]
