"""The lab's API as the official Kubernetes client sees it, over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from kubernetes import watch
from kubernetes.client import (
    ApiClient,
    ApiextensionsV1Api,
    AppsV1Api,
    CoordinationV1Api,
    CoreV1Api,
    CustomObjectsApi,
    VersionApi,
)
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from kvstore.config import EtcdConfig
from kvstore.etcd import connect as connect_etcd
from kvstore.memory import MemoryBackend
from tests.conftest import RunningEtcd
from tests.k8s.apiserver import RunningApi, config_map, definition, lab_api, pod


@pytest_asyncio.fixture
async def api() -> AsyncIterator[RunningApi]:
    async with lab_api(MemoryBackend()) as running:
        yield running


async def official(api: RunningApi, work: Callable[[Any], Any], *, token: str = "") -> Any:
    """Run synchronous work with the official client, off the server's loop."""

    def run() -> Any:
        configuration = api.configuration(token) if token else api.configuration()
        with ApiClient(configuration) as client:
            try:
                return work(client)
            finally:
                client.rest_client.pool_manager.clear()  # it leaves its connections open otherwise

    return await asyncio.to_thread(run)


DEPLOYMENT = {
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a", "image": "i"}]},
        },
    },
}


async def test_pods_are_created_read_listed_patched_and_deleted(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        created = core.create_namespaced_pod("default", pod("a", app="web"))
        assert (
            created.metadata.uid and created.metadata.creation_timestamp and created.status.phase == "Pending"
        )
        core.create_namespaced_pod("default", pod("b", app="db"))
        assert core.read_namespaced_pod("a", "default").metadata.uid == created.metadata.uid
        names = [
            item.metadata.name for item in core.list_namespaced_pod("default", label_selector="app=web").items
        ]
        assert names == ["a"]
        patched = core.patch_namespaced_pod("a", "default", {"metadata": {"labels": {"tier": "x"}}})
        assert patched.metadata.labels == {"app": "web", "tier": "x"}
        core.patch_namespaced_pod_status(
            "a", "default", {"status": {"phase": "Running", "podIP": "10.1.1.2"}}
        )
        running = core.list_pod_for_all_namespaces(field_selector="status.phase=Running").items
        assert [item.status.pod_ip for item in running] == ["10.1.1.2"]
        core.delete_namespaced_pod("a", "default")
        with pytest.raises(ApiException) as caught:
            core.read_namespaced_pod("a", "default")
        assert caught.value.status == 404

    await official(api, work)


async def test_a_wrong_token_is_refused_with_a_status_object(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        with pytest.raises(ApiException) as caught:
            CoreV1Api(client).list_node()
        assert caught.value.status == 401
        assert '"kind":"Status"' in caught.value.body
        assert VersionApi(client).get_code().major == "1"  # open, as on a real server

    await official(api, work, token="wrong")


async def test_creating_twice_and_writing_an_old_version_are_conflicts(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        first = core.create_namespaced_config_map("default", config_map("c", a="1"))
        with pytest.raises(ApiException) as twice:
            core.create_namespaced_config_map("default", config_map("c"))
        assert (twice.value.status, '"AlreadyExists"' in twice.value.body) == (409, True)
        core.patch_namespaced_config_map("c", "default", {"data": {"b": "2"}})
        first.data = {"a": "3"}
        with pytest.raises(ApiException) as outdated:
            core.replace_namespaced_config_map("c", "default", first)
        assert (outdated.value.status, '"Conflict"' in outdated.value.body) == (409, True)
        assert core.read_namespaced_config_map("c", "default").data == {"a": "1", "b": "2"}

    await official(api, work)


async def test_generate_name_gives_distinct_names(api: RunningApi) -> None:
    def work(client: ApiClient) -> list[str]:
        body = {**pod(""), "metadata": {"generateName": "web-"}}
        return [CoreV1Api(client).create_namespaced_pod("default", body).metadata.name for _ in range(3)]

    names = await official(api, work)
    assert len(set(names)) == 3
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_objects_need_an_existing_namespace_and_go_with_it(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        with pytest.raises(ApiException) as missing:
            core.create_namespaced_pod("new", pod("a", "new"))
        assert missing.value.status == 404
        core.create_namespace({"metadata": {"name": "new"}})
        core.create_namespaced_pod("new", pod("a", "new"))
        core.delete_namespace("new")
        assert core.list_pod_for_all_namespaces().items == []

    await official(api, work)


async def test_pages_show_one_consistent_picture_while_objects_change(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        for name in "abcd":
            core.create_namespaced_pod("default", pod(name))
        page = core.list_namespaced_pod("default", limit=2)
        core.delete_namespaced_pod("c", "default")
        core.create_namespaced_pod("default", pod("e"))
        rest = core.list_namespaced_pod("default", limit=2, _continue=page.metadata._continue)
        assert [item.metadata.name for item in (*page.items, *rest.items)] == ["a", "b", "c", "d"]
        assert rest.metadata.resource_version == page.metadata.resource_version

    await official(api, work)


async def test_a_continue_token_from_before_a_compaction_is_410(api: RunningApi) -> None:
    def first(client: ApiClient) -> str:
        for name in "abc":
            CoreV1Api(client).create_namespaced_pod("default", pod(name))
        token: str = CoreV1Api(client).list_namespaced_pod("default", limit=1).metadata._continue
        CoreV1Api(client).create_namespaced_pod("default", pod("d"))
        return token

    token = await official(api, first)
    api.server.compact()

    def work(client: ApiClient) -> None:
        with pytest.raises(ApiException) as gone:
            CoreV1Api(client).list_namespaced_pod("default", limit=1, _continue=token)
        assert (gone.value.status, '"Expired"' in gone.value.body) == (410, True)

    await official(api, work)


async def test_a_watch_resumes_from_a_version_and_sees_what_a_selector_hides(api: RunningApi) -> None:
    def work(client: ApiClient) -> list[tuple[str, str]]:
        core = CoreV1Api(client)
        core.create_namespaced_pod("default", pod("a", app="web"))
        version = core.list_namespaced_pod("default").metadata.resource_version
        core.create_namespaced_pod("default", pod("b", app="web"))
        core.create_namespaced_pod("default", pod("c", app="db"))
        core.patch_namespaced_pod("a", "default", {"metadata": {"labels": {"app": "db"}}})
        core.patch_namespaced_pod("c", "default", {"metadata": {"labels": {"app": "web"}}})
        core.delete_namespaced_pod("b", "default")
        events = watch.Watch().stream(
            core.list_namespaced_pod,
            "default",
            label_selector="app=web",
            resource_version=version,
            timeout_seconds=1,
        )
        return [(event["type"], event["object"].metadata.name) for event in events]

    assert await official(api, work) == [("ADDED", "b"), ("DELETED", "a"), ("ADDED", "c"), ("DELETED", "b")]


async def test_a_watch_from_before_a_compaction_is_told_410_in_the_stream(api: RunningApi) -> None:
    def first(client: ApiClient) -> str:
        core = CoreV1Api(client)
        version: str = core.list_namespaced_pod("default").metadata.resource_version
        core.create_namespaced_pod("default", pod("a"))
        return version

    version = await official(api, first)
    api.server.compact()

    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        events = watch.Watch().stream(
            core.list_namespaced_pod, "default", resource_version=version, timeout_seconds=5
        )
        with pytest.raises(ApiException) as gone:
            list(events)
        assert gone.value.status == 410

    await official(api, work)


async def test_a_deployment_is_scaled_and_its_generation_counts_only_wishes(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        apps = AppsV1Api(client)
        assert apps.create_namespaced_deployment("default", DEPLOYMENT).spec.replicas == 1
        scale = apps.read_namespaced_deployment_scale("web", "default")
        assert (scale.spec.replicas, scale.status.selector) == (1, "app=web")
        assert (
            apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 3}}).spec.replicas
            == 3
        )
        scale = apps.read_namespaced_deployment_scale("web", "default")
        scale.spec.replicas = 5
        apps.replace_namespaced_deployment_scale("web", "default", scale)
        apps.patch_namespaced_deployment_status("web", "default", {"status": {"replicas": 2}})
        deployment = apps.read_namespaced_deployment("web", "default")
        assert (deployment.spec.replicas, deployment.status.replicas, deployment.metadata.generation) == (
            5,
            2,
            3,
        )

    await official(api, work)


async def test_strategic_patches_merge_containers_by_name(api: RunningApi) -> None:
    def work(client: ApiClient) -> list[tuple[str, str]]:
        apps = AppsV1Api(client)
        apps.create_namespaced_deployment("default", DEPLOYMENT)
        containers = [{"name": "a", "image": "new"}, {"name": "b", "image": "j"}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        patched = apps.patch_namespaced_deployment("web", "default", patch)
        return [(container.name, container.image) for container in patched.spec.template.spec.containers]

    assert await official(api, work) == [("a", "new"), ("b", "j")]


async def test_a_definition_adds_a_kind_and_takes_its_objects_along(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        custom, extensions = CustomObjectsApi(client), ApiextensionsV1Api(client)
        place = ("cilium.io", "v2", "ciliumidentities")
        with pytest.raises(ApiException) as unknown:
            custom.list_cluster_custom_object(*place)
        assert unknown.value.status == 404
        created = extensions.create_custom_resource_definition(
            definition("ciliumidentities", "CiliumIdentity")
        )
        assert "Established" in [row.type for row in created.status.conditions]
        body = {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumIdentity",
            "metadata": {"name": "70000"},
            "security-labels": {"k8s:app": "web"},
        }
        custom.create_cluster_custom_object(*place, body)
        listed = custom.list_cluster_custom_object(*place)
        assert [item["security-labels"] for item in listed["items"]] == [{"k8s:app": "web"}]
        patched = custom.patch_cluster_custom_object(*place, "70000", {"metadata": {"labels": {"a": "b"}}})
        assert patched["metadata"]["labels"] == {"a": "b"}
        extensions.delete_custom_resource_definition("ciliumidentities.cilium.io")
        with pytest.raises(ApiException):
            custom.list_cluster_custom_object(*place)

    await official(api, work)


async def test_services_get_distinct_addresses_and_node_ports_and_keep_them(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        bodies = [
            {"metadata": {"name": f"s{number}"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
            for number in range(20)
        ]
        created = [core.create_namespaced_service("default", body) for body in bodies]
        assert len({service.spec.cluster_ip for service in created}) == 20
        assert len({service.spec.ports[0].node_port for service in created}) == 20
        port = created[0].spec.ports[0]
        assert (port.protocol, port.target_port, created[0].spec.ip_families) == ("TCP", 80, ["IPv4"])
        changed = core.replace_namespaced_service(
            "s0", "default", bodies[0]
        )  # names neither address nor port
        assert changed.spec.cluster_ip == created[0].spec.cluster_ip
        assert changed.spec.ports[0].node_port == port.node_port

    await official(api, work)


async def test_finalizers_hold_an_object_until_the_last_one_is_gone(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        core = CoreV1Api(client)
        body = config_map("held")
        body["metadata"]["finalizers"] = ["example.com/wait"]
        core.create_namespaced_config_map("default", body)
        core.delete_namespaced_config_map("held", "default")
        assert core.read_namespaced_config_map("held", "default").metadata.deletion_timestamp is not None
        core.patch_namespaced_config_map(
            "held", "default", [{"op": "remove", "path": "/metadata/finalizers/0"}]
        )
        with pytest.raises(ApiException) as gone:
            core.read_namespaced_config_map("held", "default")
        assert gone.value.status == 404

    await official(api, work)


async def test_dependents_go_with_their_owner_unless_orphaned(api: RunningApi) -> None:
    def work(client: ApiClient, policy: str) -> list[str]:
        core = CoreV1Api(client)
        owner = core.create_namespaced_config_map("default", config_map(f"owner-{policy.lower()}"))
        body = pod(f"pod-{policy.lower()}")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
        body["metadata"]["ownerReferences"] = [reference]
        core.create_namespaced_pod("default", body)
        core.delete_namespaced_config_map(owner.metadata.name, "default", propagation_policy=policy)
        return [item.metadata.name for item in core.list_namespaced_pod("default").items]

    assert await official(api, lambda client: work(client, "Background")) == []
    assert await official(api, lambda client: work(client, "Orphan")) == ["pod-orphan"]


async def test_delete_collection_takes_only_what_is_selected(api: RunningApi) -> None:
    def work(client: ApiClient) -> list[str]:
        core = CoreV1Api(client)
        for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
            core.create_namespaced_pod("default", pod(name, app=app))
        core.delete_collection_namespaced_pod("default", label_selector="app=x")
        return [item.metadata.name for item in core.list_namespaced_pod("default").items]

    assert await official(api, work) == ["b"]


def run_in_pod(client: ApiClient, argv: list[str], stdin: str = "") -> tuple[str, str, int]:
    """Standard output, standard error and exit code, by the official client's websocket."""
    connection = stream(
        CoreV1Api(client).connect_get_namespaced_pod_exec,
        "a",
        "default",
        command=argv,
        stdin=bool(stdin),
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    try:
        if stdin:
            connection.write_stdin(stdin)
            connection.close_channel(0)
        connection.run_forever(timeout=10)
        return connection.read_stdout(), connection.read_stderr(), connection.returncode
    finally:
        connection.sock.shutdown()  # the client forgets to


async def test_a_command_runs_in_a_pod_and_its_exit_code_comes_back(api: RunningApi) -> None:
    def work(client: ApiClient) -> None:
        CoreV1Api(client).create_namespaced_pod("default", pod("a"))
        assert run_in_pod(client, ["echo", "hello", "pod"]) == ("hello pod\n", "", 0)
        assert run_in_pod(client, ["complain"]) == ("", "no good\n", 3)
        assert run_in_pod(client, ["cat"], stdin="typed\n") == ("typed\n", "", 0)
        log = CoreV1Api(client).read_namespaced_pod_log("a", "default", tail_lines=2)
        assert log == "line 3\nline 4\n"

    await official(api, work)
    assert [call[1] for call in api.runtime.calls] == [["echo", "hello", "pod"], ["complain"], ["cat"]]


async def test_leases_are_written_and_renewed(api: RunningApi) -> None:
    def work(client: ApiClient) -> str:
        leases = CoordinationV1Api(client)
        leases.create_namespaced_lease(
            "kube-system", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}
        )
        patched = leases.patch_namespaced_lease("l", "kube-system", {"spec": {"holderIdentity": "b"}})
        holder: str = patched.spec.holder_identity
        return holder

    assert await official(api, work) == "b"


async def test_everything_survives_a_restart_on_a_real_etcd(etcd: RunningEtcd) -> None:
    def write(client: ApiClient) -> str:
        ApiextensionsV1Api(client).create_custom_resource_definition(definition("ciliumnodes", "CiliumNode"))
        body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": "n1"}}
        CustomObjectsApi(client).create_cluster_custom_object("cilium.io", "v2", "ciliumnodes", body)
        core = CoreV1Api(client)
        core.create_namespaced_config_map("default", config_map("c", a="1"))
        core.delete_namespaced_config_map("c", "default")
        version: str = core.list_namespaced_config_map("default").metadata.resource_version
        return version

    def read(client: ApiClient, version: str) -> list[str]:
        core = CoreV1Api(client)
        assert core.list_namespaced_config_map("default").metadata.resource_version >= version
        assert core.list_namespaced_config_map("default").items == []
        nodes = CustomObjectsApi(client).list_cluster_custom_object("cilium.io", "v2", "ciliumnodes")
        return [item["metadata"]["name"] for item in nodes["items"]]

    async with connect_etcd(EtcdConfig(endpoints=(f"http://{etcd.endpoint}",))) as backend:
        async with lab_api(backend) as api:
            version = await official(api, write)
        async with lab_api(backend) as api:
            assert await official(api, lambda client: read(client, version)) == ["n1"]
