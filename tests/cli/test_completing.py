"""What a shell completes, as the shell asks for it; what cannot be had is silently not offered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from cli.__main__ import main
from k8s.resource import SERVICE
from tests.cli.conftest import Clusters


async def offered(clusters: Clusters, words: str, incomplete: str) -> list[str]:
    complete = ShellComplete(main, {}, "clustermesh", "_CLUSTERMESH_COMPLETE")
    arguments = [*words.split(), "--kubeconfig", str(clusters.kubeconfig)]
    found = await asyncio.to_thread(complete.get_completions, arguments, incomplete)
    return [item.value for item in found]


async def test_contexts_are_those_of_the_kubeconfig(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(clusters.kubeconfig))
    complete = ShellComplete(main, {}, "clustermesh", "_CLUSTERMESH_COMPLETE")

    def values(*words: str, incomplete: str = "") -> list[str]:
        return [item.value for item in complete.get_completions(list(words), incomplete)]

    assert values("status", "--context") == ["east", "west"]
    assert values("connect", "--destination-context", incomplete="w") == ["west"]
    assert values("connect", "--destination-context", incomplete="west,") == ["west,east"]
    assert "certs" in values(incomplete="c")


async def test_services_and_clusters_are_asked_of_the_cluster(clusters: Clusters) -> None:
    for name, said in (("web", {"service.cilium.io/global": "true"}), ("own", {})):
        meta = {"name": name, "namespace": "default", "annotations": said}
        await clusters.client("east").create(SERVICE, {"metadata": meta, "spec": {"ports": [{"port": 80}]}})
    assert await offered(clusters, "service status --context east", "") == ["default/web"]
    assert await offered(clusters, "service status --context east", "x") == []
    await clusters.enable()
    await clusters.run("connect", "--context", "east", "--destination-context", "west")
    assert await offered(clusters, "certs revoke --context east", "w") == ["west"]


def test_a_cluster_that_cannot_be_asked_offers_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    complete = ShellComplete(main, {}, "clustermesh", "_CLUSTERMESH_COMPLETE")
    words = ["service", "status", "--kubeconfig", str(tmp_path / "none")]
    assert complete.get_completions(words, "") == []
    assert capfd.readouterr() == ("", "")
