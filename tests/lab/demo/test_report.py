import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lab.demo.report import Curl, DemoResult, PolicyResult, Quantiles, as_json, as_tables, decode, quantiles

RESULT = DemoResult(
    clusters=["east", "west"],
    curls=[Curl("east/client", "web", f"west/web-{i}", 1.25) for i in range(10)],
    failover_ms=120.4,
    failed_curls=0,
    propagation_ms=Quantiles(2.5, 9.1),
    policy=PolicyResult(allowed=True, denied=False, drops=3),
    seconds={"lab up": 4.2},
    ok=False,
)


def test_the_object_has_the_names_that_the_design_promises() -> None:
    printed = decode(as_json(RESULT))
    assert {"clusters", "curls", "failover_ms", "propagation_ms", "policy", "ok"} <= printed.keys()
    assert set(printed["curls"][0]) == {"from", "to", "served_by", "ms"}
    assert printed["propagation_ms"] == {"p50": 2.5, "p99": 9.1}
    assert (printed["policy"]["allowed"], printed["policy"]["denied"]) == (True, False)


def test_a_failed_check_is_shown_loudly() -> None:
    text = io.StringIO()
    as_tables(RESULT, Console(file=text, width=120))
    assert "not ok" in text.getvalue()
    assert "10 requests in all" in text.getvalue()
    assert "NO, 3 packets dropped" in text.getvalue()


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_quantiles_are_ordered_and_among_the_values(values: list[float]) -> None:
    result = quantiles(values)
    assert round(min(values), 2) <= result.p50 <= result.p99 <= round(max(values), 2)
