"""Mode `cluster`: each cluster comes under a name of its own, and only who is known is let in."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from certs import reissue
from cli import facts, users
from cli.errors import CommandError
from clustermesh_apiserver.proxy.access import parse_users
from k8s.resource import CONFIGMAP, DEPLOYMENT, SECRET
from tests.cli.conftest import Clusters
from tests.cli.test_connect import CONNECT
from tests.cli.test_plan import EAST, WEST, text, written

AGAIN = ("enable", "--context", "east", "--service-type", "LoadBalancer")


@given(st.frozensets(st.sampled_from(["east", "west", "a-1"])))
def test_what_is_written_is_what_the_command_line_and_the_proxy_read(clusters: frozenset[str]) -> None:
    content = users.render(clusters)
    assert users.parse(content) == clusters
    assert parse_users(content.encode()) == {f"remote-{cluster}" for cluster in clusters}


def test_a_list_that_cannot_be_read_is_not_overwritten() -> None:
    with pytest.raises(CommandError, match="clustermesh-remote-users"):
        users.parse("users: [west]")


async def let_in(clusters: Clusters, cluster: str) -> frozenset[str] | None:
    found = await clusters.get(cluster, CONFIGMAP, users.CONFIG_MAP)
    return None if found is None else users.parse(found["data"]["users.yaml"])


async def client_name(clusters: Clusters, cluster: str) -> str:
    found = await clusters.get(cluster, SECRET, "clustermesh-apiserver-remote-cert")
    assert found is not None
    pem = base64.b64decode(found["data"]["tls.crt"])
    return reissue.profile_of(reissue.leaf_of({"tls.crt": pem})).common_name


async def test_by_default_the_name_is_shared_and_no_list_is_kept(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run(*CONNECT)
    assert await client_name(clusters, "east") == "remote"
    assert await let_in(clusters, "east") is None


async def test_a_dry_run_shows_the_lists_as_they_would_be(clusters: Clusters) -> None:
    async def shown() -> dict[str, frozenset[str]]:
        """Cluster -> its list, where it would be written."""
        said = (await clusters.run(*CONNECT, "--dry-run")).stdout
        found = {}
        for part in said.split("# cluster ")[1:]:
            name, _, documents = part.partition("\n")
            for body in yaml.safe_load_all(documents):
                if body and body["metadata"]["name"] == users.CONFIG_MAP:
                    assert (body["kind"], body["metadata"]["namespace"]) == ("ConfigMap", "kube-system")
                    found[name] = users.parse(body["data"][users.FILE])
        return found

    await clusters.enable()
    assert await shown() == {}
    await clusters.enable("--auth-mode", "cluster")
    await users.let_in(clusters.client("west"), "kube-system", "west", "north")
    before = await clusters.everything()
    said = await shown()
    assert (said, await clusters.everything()) == ({"east": {"west"}, "west": {"east", "north"}}, before)
    await clusters.run(*CONNECT)
    assert {name: await let_in(clusters, name) for name in said} == said
    assert await shown() == {}


async def test_connecting_lets_in_by_name_and_disconnecting_shuts_out(clusters: Clusters) -> None:
    await clusters.enable("--auth-mode", "cluster")
    assert [await client_name(clusters, name) for name in ("east", "west")] == ["remote-east", "remote-west"]
    await clusters.run(*CONNECT, "--connection-mode", "unicast")
    assert (await let_in(clusters, "east"), await let_in(clusters, "west")) == (frozenset(), {"east"})
    await clusters.run(*CONNECT)
    assert (await let_in(clusters, "east"), await let_in(clusters, "west")) == ({"west"}, {"east"})
    await clusters.run("disconnect", *CONNECT[1:])
    assert (await let_in(clusters, "east"), await let_in(clusters, "west")) == (frozenset(), frozenset())


async def test_a_cluster_that_changes_over_lets_in_whom_it_knows_and_stays_so(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run(*CONNECT)
    await clusters.run(*AGAIN, "--auth-mode", "cluster")
    await clusters.run(*AGAIN)
    assert (await client_name(clusters, "east"), await let_in(clusters, "east")) == ("remote-east", {"west"})
    deployment = await clusters.client("east").get(DEPLOYMENT, "clustermesh-apiserver", "kube-system")
    assert deployment is not None
    assert facts.auth_mode(deployment) == "cluster"
    await clusters.run(*AGAIN, "--auth-mode", "migration")
    assert await client_name(clusters, "east") == "remote"


async def test_a_bundle_that_is_imported_lets_its_cluster_in(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable("--auth-mode", "cluster")
    bundle = str(tmp_path / "west.yaml")
    await clusters.run("connect", "--context", "west", "--export", bundle)
    done = await clusters.run("connect", "--context", "east", "--import", bundle)
    assert done.exit_code == 0, done.output
    assert await let_in(clusters, "east") == {"west"}
    await clusters.run("disconnect", "--context", "east", "--cluster", "west")
    assert await let_in(clusters, "east") == frozenset()


async def test_the_mesh_file_says_who_is_let_in(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable("--auth-mode", "cluster")
    file = written(tmp_path, text(EAST, WEST, reads={"east": ["west"]}))
    plan = await clusters.run("plan", "-f", file, "--manifests", str(tmp_path / "out"))
    assert plan.stdout.splitlines() == ["west: let in east", "east: know west at 192.0.2.2:2379"]
    bodies = list(yaml.safe_load_all((tmp_path / "out" / "west.yaml").read_text()))
    listed = [each["data"] for each in bodies if each["metadata"]["name"] == users.CONFIG_MAP]
    assert listed == [{"users.yaml": users.render({"east"})}]
    assert (await clusters.run("apply", "-f", file)).exit_code == 0
    assert (await let_in(clusters, "east"), await let_in(clusters, "west")) == (frozenset(), {"east"})
    assert (await clusters.run("plan", "-f", file)).exit_code == 0
    written(tmp_path, text(EAST, WEST, reads={"west": ["east"]}))
    assert (await clusters.run("apply", "-f", file)).exit_code == 0
    assert (await let_in(clusters, "east"), await let_in(clusters, "west")) == ({"west"}, frozenset())
