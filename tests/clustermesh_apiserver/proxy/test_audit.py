"""A client that is refused all the time leaves lines, and does not fill the log."""

from __future__ import annotations

from clustermesh_apiserver.proxy.audit import (
    CLIENT_BURST,
    CLIENT_RATE,
    MAX_CLIENTS,
    TOTAL_BURST,
    TOTAL_RATE,
    AuditBudget,
)


def test_a_flood_of_refusals_leaves_a_burst_and_then_a_line_now_and_then() -> None:
    budget = AuditBudget()
    lines = [budget.line("west", second / 100) for second in range(10_000)]  # 100 s
    written = [line for line in lines if line is not None]
    assert CLIENT_BURST + 98 * CLIENT_RATE <= len(written) <= CLIENT_BURST + 101 * CLIENT_RATE
    assert sum(written) + len(written) + lines[::-1].index(written[-1]) == 10_000  # all are accounted for


def test_one_flood_does_not_silence_another_client() -> None:
    budget = AuditBudget()
    for _ in range(1000):
        budget.line("west", 1.0)
    assert budget.line("north", 1.0) == 0


def test_many_clients_together_are_bounded_and_so_is_what_is_remembered_of_them() -> None:
    budget = AuditBudget()
    written = sum(budget.line(f"client {number}", 1.0) is not None for number in range(3 * MAX_CLIENTS))
    assert written == TOTAL_BURST
    assert budget.line("another", 2.0) == 0
    assert sum(budget.line(f"{number}", 2.0) is not None for number in range(200)) <= TOTAL_RATE
