"""The lab's API server for tests: on loopback with real TLS, over any backend, with a stand-in for pods."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from certs.issue import Authority, Issued
from certs.profile import Profile
from k8s.access import Access
from k8s.client import Client, connect
from kvstore.backend import Backend
from lab.api.runtime import ContainerRef, ExecResult, PodNotRunningError
from lab.api.server import ApiServer, serving

TOKEN = "a-token-for-tests"
SERVICE_CIDR = "172.20.9.0/24"


class RecordedRuntime:
    """Pods that answer from a table: a command's name decides what comes back."""

    def __init__(self) -> None:
        self.calls: list[tuple[ContainerRef, list[str], bytes]] = []
        self.answers: dict[str, ExecResult] = {}  # by pod: to whatever is run there

    async def exec(self, target: ContainerRef, argv: Sequence[str], stdin: bytes) -> ExecResult:
        self.calls.append((target, list(argv), stdin))
        if target.pod in self.answers:
            return self.answers[target.pod]
        match argv[0]:
            case "echo":
                return ExecResult(" ".join(argv[1:]).encode() + b"\n", b"", 0)
            case "cat":
                return ExecResult(stdin, b"", 0)
            case "complain":
                return ExecResult(b"", b"no good\n", 3)
        raise PodNotRunningError(f"container of {target.pod} is not running")

    async def read_log(self, target: ContainerRef, tail: int | None) -> bytes:
        lines = [f"line {number}\n".encode() for number in range(5)]
        return b"".join(lines[-tail:] if tail else lines)


@dataclass
class RunningApi:
    """A server and how to reach it. `access` is for our client, `configuration()` for the official one."""

    server: ApiServer
    access: Access
    ca_file: Path
    runtime: RecordedRuntime
    client: Client = field(repr=False)

    def configuration(self, token: str = TOKEN) -> Any:
        from kubernetes.client import Configuration

        configuration = Configuration(host=self.access.server)
        configuration.ssl_ca_cert = str(self.ca_file)
        configuration.api_key = {"BearerToken": f"Bearer {token}"}
        configuration.retries = False
        return configuration

    def kubeconfig(self, path: Path, token: str = TOKEN) -> Path:
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "east",
                    "contexts": [
                        {"name": "east", "context": {"cluster": "c", "user": "u", "namespace": "kube-system"}}
                    ],
                    "clusters": [
                        {
                            "name": "c",
                            "cluster": {
                                "server": self.access.server,
                                "certificate-authority": str(self.ca_file),
                            },
                        }
                    ],
                    "users": [{"name": "u", "user": {"token": token}}],
                }
            )
        )
        return path


@asynccontextmanager
async def lab_api(backend: Backend, port: int = 0, token: str = TOKEN) -> AsyncGenerator[RunningApi]:
    authority, leaf = _certificates()
    with tempfile.TemporaryDirectory() as directory:
        ca_file = Path(directory, "ca.crt")
        ca_file.write_bytes(authority.issued.certificate_pem)
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        access = Access(url, ca_file.read_bytes(), token)
        runtime = RecordedRuntime()
        async with (
            serving(
                backend,
                sockets=[listening],
                tls=_server_context(leaf, Path(directory)),
                token=token,
                service_cidr=SERVICE_CIDR,
                runtime=runtime,
            ) as server,
            connect(access) as client,
        ):
            yield RunningApi(server, access, ca_file, runtime, client)


def with_token(access: Access, token: str, renew: Callable[[], str] | None = None) -> Access:
    return replace(
        access, token=token, renew=None if renew is None else lambda: replace(access, token=renew())
    )


def pod(name: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "clustermesh.io/lab-sleep"}]},
    }


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def definition(plural: str, kind: str, scope: str = "Cluster") -> dict[str, Any]:
    version = {
        "name": "v2",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "scope": scope,
            "names": {"plural": plural, "kind": kind, "singular": kind.lower()},
            "versions": [version],
        },
    }


def _certificates() -> tuple[Authority, Issued]:
    now = datetime.now(UTC)
    authority = Authority.create(now)
    return authority, authority.issue(Profile("lab-api", ip_addresses=("127.0.0.1",), server=True), now)


def _server_context(leaf: Issued, directory: Path) -> ssl.SSLContext:
    chain = directory / "server.pem"
    chain.touch(0o600)
    chain.write_bytes(leaf.certificate_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context
