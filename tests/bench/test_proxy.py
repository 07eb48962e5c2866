"""The benchmark measures what it says: every watcher of each kind gets every event."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import proxy


async def test_a_small_run_delivers_everything_and_names_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "PUT_SECONDS", 0.1)
    figures = {
        one.name: one for one in await proxy.measure(tmp_path, keys=300, crowds=[proxy.Crowd(3)], runs=1)
    }
    for target in ("proxy, plain", "proxy, mTLS"):
        assert figures[f"3 watchers, {target}: events not delivered"].value == 0
        for name in (f"Range of everything, {target}", f"3 watchers, {target}: deliveries"):
            assert figures[name].value > 0
            assert figures[name].ratio is not None
            assert figures[name].peak_rss_bytes
