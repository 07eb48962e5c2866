"""A container as its manifest describes it, turned into a command line and an environment. Pure.

There are no images: a container runs a program of this machine. Our own images stand for the programs of
the environment that runs the lab, the lab's images for the small servers beside this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from lab.errors import PodConfigError
from lab.manifest import Container, EnvVar, Pod
from lab.node.volumes import Sources

# Run as modules: works from a checkout without installed scripts, and starts without their wrapper.
_PROGRAMS = {
    "clustermesh": "cli",
    "clustermesh-dbg": "cli.dbg",
    "clustermesh-agent": "agent",
    "clustermesh-apiserver": "clustermesh_apiserver",
    "clustermesh-operator": "clustermesh_operator",
}
_IMAGES = {
    "clustermesh.io/lab-echo": ("-m", "lab.echo"),
    "clustermesh.io/lab-sleep": ("-m", "lab.sleep"),
}
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_BELOW = PurePosixPath("/var/lib")
_LABEL_PATH = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


@dataclass(frozen=True, slots=True)
class Place:
    """What the node and the pod's network add to the manifest."""

    node: str
    node_ip: str
    pod_ips: tuple[str, ...]  # IPv4 first


def argv(container: Container, env: Mapping[str, str], python: str) -> list[str]:
    """The command line. Raises PodConfigError when the manifest names nothing we can run."""
    words = [expand(word, env) for word in (*container.command, *container.args)]
    if container.command:
        return program(words, python)
    image = container.image.partition("@")[0]
    if ":" in image.rpartition("/")[2]:
        image = image.rpartition(":")[0]
    if image not in _IMAGES:
        raise PodConfigError(f"container {container.name}: the lab runs no images; {image} needs a command")
    return [python, *_IMAGES[image], *words]


def program(words: list[str], python: str) -> list[str]:
    """`words` with our own programs' names replaced by how to run them here."""
    module = _PROGRAMS.get(words[0])
    return [python, "-m", module, *words[1:]] if module else words


def environment(
    pod: Pod, container: Container, base: Mapping[str, str], place: Place, sources: Sources
) -> dict[str, str]:
    """`base` overlaid with the manifest's variables, each of which sees those before it."""
    env = dict(base)
    for variable in container.env:
        value = _value(pod, variable, env, place, sources)
        if value is not None:
            env[variable.name] = value
    return env


def _value(pod: Pod, variable: EnvVar, env: Mapping[str, str], place: Place, sources: Sources) -> str | None:
    source = variable.valueFrom
    if source is None:
        return expand(variable.value, env)
    if source.fieldRef:
        return field(pod, source.fieldRef.fieldPath, place)
    for kind, ref, read in (
        ("secret", source.secretKeyRef, sources.secret),
        ("configmap", source.configMapKeyRef, sources.config_map),
    ):
        if ref:
            data = read(ref.name)
            if data is not None and ref.key in data:
                return data[ref.key].decode()
            if ref.optional:
                return None
            raise PodConfigError(f"variable {variable.name}: {kind} {ref.name} has no key {ref.key}")
    raise PodConfigError(f"variable {variable.name}: this kind of source is not supported")


def field(pod: Pod, path: str, place: Place) -> str:
    """A downward-API field."""
    meta = pod.metadata
    known = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": place.node,
        "spec.serviceAccountName": pod.spec.serviceAccountName,
        "status.podIP": place.pod_ips[0] if place.pod_ips else "",
        "status.podIPs": ",".join(place.pod_ips),
        "status.hostIP": place.node_ip,
    }
    if path in known:
        return known[path]
    if match := _LABEL_PATH.fullmatch(path):
        values = meta.labels if match[1] == "labels" else meta.annotations
        return values.get(match[2], "")
    raise PodConfigError(f"field {path} is not supported")


def expand(text: str, env: Mapping[str, str]) -> str:
    """Kubernetes' `$(NAME)`; `$$` is a dollar sign, an unknown name stays as written."""

    def replace(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else env.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def mount_target(path: str) -> PurePosixPath:
    """A checked mountPath. Containers share the machine's files except below /var/lib."""
    target = PurePosixPath(path)
    if _BELOW not in target.parents or ".." in target.parts:
        raise PodConfigError(f"mountPath {path}: the lab mounts volumes only below /var/lib")
    return target
