"""Flags, their environment variables, and what wrong ones say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from clustermesh_apiserver import __main__ as program
from clustermesh_apiserver.config import Config

LOOPBACK = "http://127.0.0.1:2378"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What would be served."""
    configs: list[Config] = []

    async def serve(config: Config) -> None:
        configs.append(config)

    monkeypatch.setattr("clustermesh_apiserver.serve.serve", serve)
    monkeypatch.setattr("aiokit.log.configure", lambda *_: None)
    return configs


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    environment = {"KUBECONFIG": "", **environment}
    result = CliRunner().invoke(program.main, ["clustermesh", *arguments], env=environment)
    return result.exit_code, result.output


def test_flags_become_settings(served: list[Config]) -> None:
    code, output = run(
        *("--cluster-name", "east", "--cluster-id=3", "--max-connected-clusters=511"),
        *("--etcd-endpoint", LOOPBACK, "--kvstore-lease-ttl=30s", "--k8s-kubeconfig-path", "/kube"),
        *("--health-port", "0", "--clustermesh-default-global-namespace=false"),
    )
    assert (code, output) == (0, "")
    (config,) = served
    assert (config.cluster.name, config.cluster.cluster_id) == ("east", 3)
    assert config.cluster.layout.max_connected_clusters == 511
    assert config.etcd.endpoints == (LOOPBACK,)
    assert (config.lease_ttl_seconds, config.health_port) == (30, 0)
    assert config.kubeconfig == Path("/kube")
    assert config.default_global_namespace is False


def test_every_flag_can_come_from_the_environment(served: list[Config]) -> None:
    code, output = run(
        CLUSTERMESH_CLUSTER_NAME="east",
        CLUSTERMESH_CLUSTER_ID="3",
        CLUSTERMESH_KVSTORE_OPT=f"etcd.address={LOOPBACK}",
        CLUSTERMESH_CLUSTERMESH_DEFAULT_GLOBAL_NAMESPACE="false",
        KUBECONFIG="/kube",
    )
    assert (code, output) == (0, "")
    assert served[0].etcd.endpoints == (LOOPBACK,)
    assert served[0].kubeconfig == Path("/kube")
    assert served[0].default_global_namespace is False


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--cluster-name", "east"], "--cluster-id must be between 1 and 255"),
        (["--cluster-name", "east", "--cluster-id", "3"], "where is etcd?"),
        (["--cluster-nam", "east"], "No such option"),
        (["--log-level", "loud"], "--log-level"),
    ],
)
def test_a_wrong_flag_ends_with_one_line_and_status_2(
    served: list[Config], arguments: list[str], reason: str
) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert reason in output
    assert "Traceback" not in output
    assert served == []


def test_the_proxy_is_a_subcommand_that_the_others_do_not_load() -> None:
    text = CliRunner().invoke(program.main, ["proxy", "--help"]).output
    assert "--upstream" in text
    loaded = "'clustermesh_apiserver.proxy.serve' in sys.modules"
    code = f"import sys, clustermesh_apiserver.serve; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(program.main, ["version"])
    assert result.exit_code == 0
    assert result.output.startswith("clustermesh-apiserver ")
