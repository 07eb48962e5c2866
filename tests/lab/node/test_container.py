"""A manifest becomes the command line and environment that Kubernetes would give it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import PodConfigError
from lab.manifest import Container, Pod
from lab.node import container
from lab.node.volumes import Sources

PLACE = container.Place("node-1", "198.18.1.11", ("10.1.1.5", "fd00:10:1:1::5"))
SOURCES = Sources({"s": {"k": b"secret"}}.get, {"m": {"k": b"map"}}.get)
POD = msgspec.convert(
    {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}},
        "spec": {"serviceAccountName": "robot"},
    },
    Pod,
)


def make(**fields: Any) -> Container:
    return msgspec.convert({"name": "main", **fields}, Container)


def env_of(*variables: dict[str, Any], base: dict[str, str] | None = None) -> dict[str, str]:
    return container.environment(POD, make(env=variables), base or {}, PLACE, SOURCES)


def argv_of(env: dict[str, str] | None = None, **fields: Any) -> list[str]:
    return container.argv(make(**fields), env or {}, "python")


def test_our_programs_run_as_modules_of_this_environment() -> None:
    image = "clustermesh.io/clustermesh:0.1"
    assert argv_of(image=image, command=["clustermesh-agent"], args=["--x"]) == [
        "python",
        "-m",
        "agent",
        "--x",
    ]
    assert argv_of(image="etcd", command=["etcd"], args=["--a=b"]) == ["etcd", "--a=b"]


def test_the_labs_images_need_no_command() -> None:
    assert argv_of(image="clustermesh.io/lab-echo") == ["python", "-m", "lab.echo"]
    assert argv_of(image="clustermesh.io/lab-echo:1", args=["81"]) == ["python", "-m", "lab.echo", "81"]
    assert argv_of(image="clustermesh.io/lab-sleep@sha256:0") == ["python", "-m", "lab.sleep"]


@pytest.mark.parametrize("image", ["nginx", "registry:5000/nginx", ""])
def test_a_foreign_image_without_a_command_is_refused(image: str) -> None:
    with pytest.raises(PodConfigError, match="runs no images"):
        argv_of(image=image)


def test_variables_see_those_before_them_and_the_nodes() -> None:
    env = env_of(
        {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(NODE)-$(NO)-$$(A)"}, base={"NODE": "n"}
    )
    assert env == {"NODE": "n", "A": "1", "B": "1-n-$(NO)-$(A)"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.1.1.5"),
        ("status.podIPs", "10.1.1.5,fd00:10:1:1::5"),
        ("status.hostIP", "198.18.1.11"),
    ],
)
def test_fields_of_the_pod_reach_its_environment(path: str, value: str) -> None:
    assert env_of({"name": "F", "valueFrom": {"fieldRef": {"fieldPath": path}}}) == {"F": value}


def test_secrets_and_config_maps_reach_the_environment() -> None:
    secret = {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    config = {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}
    absent = {"name": "O", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}}
    assert env_of(secret, config, absent) == {"S": "secret", "M": "map"}


@pytest.mark.parametrize(
    "source",
    [
        {"secretKeyRef": {"name": "no", "key": "k"}},
        {"configMapKeyRef": {"name": "m", "key": "no"}},
        {"fieldRef": {"fieldPath": "spec.nothing"}},
        {"resourceFieldRef": {}},
    ],
)
def test_a_variable_without_a_source_is_an_error(source: dict[str, Any]) -> None:
    with pytest.raises(PodConfigError):
        env_of({"name": "X", "valueFrom": source})


@given(st.text("$()AB", max_size=12))
def test_expansion_without_known_names_only_halves_dollars(text: str) -> None:
    assert container.expand(text, {}).replace("$", "") == text.replace("$", "")
    assert container.expand(text.replace("$", "$$"), {"A": "x", "B": "y"}) == text


@pytest.mark.parametrize("path", ["/etc/x", "/var/lib", "/var/lib/../x", "relative"])
def test_volumes_only_go_below_var_lib(path: str) -> None:
    with pytest.raises(PodConfigError, match="below /var/lib"):
        container.mount_target(path)


def test_a_mount_path_below_var_lib_is_taken() -> None:
    assert str(container.mount_target("/var/lib/cilium/run")) == "/var/lib/cilium/run"
