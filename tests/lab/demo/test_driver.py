import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.demo.driver import Answer, is_ready, parse_answer


def test_an_answer_is_the_echo_and_curls_own_time() -> None:
    line = '{"cluster":"west","node":"node-1","pod":"web-1","namespace":"default","peer":"10.1.1.3"} 0.004\n'
    assert parse_answer(line) == Answer("west/web-1", 4.0)
    assert parse_answer(line).cluster == "west"


@given(st.text())
def test_anything_else_is_a_failure_and_no_exception(line: str) -> None:
    assert parse_answer(line) == Answer("", 0.0)


@pytest.mark.parametrize(
    ("pod", "ready"),
    [
        ({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, True),
        ({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}, False),
        ({"metadata": {}}, False),
        (
            {
                "metadata": {"deletionTimestamp": "now"},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            },
            False,
        ),
    ],
)
def test_a_pod_that_is_going_is_not_ready(pod: dict[str, object], ready: bool) -> None:
    assert is_ready(pod) is ready
