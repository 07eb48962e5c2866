"""Each benchmark once, tiny, by its public entry: it measures what it says, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import hooks, mesh, propagation, sync
from bench.__main__ import CROWD, main
from bench.figure import Figure
from bench.latency import outcome
from bench.proxy import Crowd
from bpf.programspec import PROGRAMS

pytestmark = pytest.mark.root


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {one.name: one for one in figures}


async def test_a_sync_is_complete_and_has_its_floor(tmp_path: Path) -> None:
    found = by_name(await sync.measure(tmp_path, entries=[300], runs=1))
    whole = found["sync of 300 endpoints, etcd to kernel"]
    assert whole.ratio is not None and whole.ratio > 1
    assert whole.peak_rss_bytes and whole.cpu_seconds
    assert not (tmp_path / "bpf").exists()


async def test_every_change_is_read_back_from_the_kernel_both_ways(tmp_path: Path) -> None:
    found = by_name(await propagation.measure(tmp_path, endpoints=300, rates=[200], seconds=0.2, runs=1))
    for way in ("directly", "by KVStoreMesh"):
        assert found[f"{way}, 200/s: changes that never came"].value == 0
        assert found[f"{way}, 200/s: p50"].value > 0
    assert found["KVStoreMesh copies 3500 leased keys"].ratio


async def test_several_clusters_go_into_one_kvstoremesh_and_one_agent(tmp_path: Path) -> None:
    figures = await mesh.measure(tmp_path, number=2, share=0.001, seconds=0.1, rate=50, runs=1)
    found = {one.name.partition(": ")[2]: one.value for one in figures}
    assert found["errors"] == found["refused"] == found["reconnects"] == 0
    assert found["KVStoreMesh has all"] > 0


async def test_a_packet_for_no_service_costs_more_than_none_s_work(tmp_path: Path) -> None:
    found = by_name(await hooks.measure(tmp_path, runs=1))
    for protocol in ("TCP", "UDP"):
        ratio = found[f"cil_from_netdev: {protocol} for no service"].ratio
        assert ratio is not None and ratio > 1
    assert {f"{program.name}: seen by the verifier" for program in PROGRAMS} < found.keys()
    assert not (tmp_path / "bpf").exists()


def test_the_command_prints_the_agreed_json() -> None:
    done = CliRunner().invoke(main, ["service", "--backends", "100", "--runs", "1", "-o", "json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert {"name", "value", "unit", "floor", "ratio", "cpu_seconds", "peak_rss_bytes", "runs"} == set(
        figures[0]
    )


def test_a_wrong_list_of_numbers_is_refused() -> None:
    done = CliRunner().invoke(main, ["sync", "--entries", "1,x"])
    assert done.exit_code == 2
    assert "not a list of numbers" in done.output


def test_a_queue_that_grows_is_seen() -> None:
    second = 1_000_000_000
    sent = {str(n): (n * second // 10, n * second // 10) for n in range(100)}
    steady = {name: (put, put + 1) for name, (put, _) in sent.items()}
    late = {name: (put, put * 2) for name, (put, _) in sent.items()}
    assert outcome(sent, steady).growth == 0
    assert outcome(sent, late).growth > 10
    assert outcome(sent, {}).missing == 100
    assert max(outcome(sent, steady).by_second) <= 1
    queue = outcome(sent, late).by_second
    assert len(queue) == 10 and queue == sorted(queue) and queue[-1] > 40


def test_watchers_may_have_a_rate_of_their_own() -> None:
    assert [CROWD.convert(text, None, None) for text in ("7", "100@5000")] == [
        Crowd(7, 200),
        Crowd(100, 5000),
    ]
    for wrong in ("x", "100@", "0", "@5", "100@x"):
        done = CliRunner().invoke(main, ["proxy", "--watchers", wrong])
        assert done.exit_code == 2
