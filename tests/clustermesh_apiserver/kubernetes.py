"""A Kubernetes API for tests: the lab's, over a real etcd and TLS, on loopback."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from certs.issue import Authority
from certs.profile import server
from k8s.access import Access
from k8s.client import Client, connect
from k8s.resource import (
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNODE,
    CRD,
    ENDPOINTSLICE,
    NAMESPACE,
    SERVICE,
    Resource,
)
from kvstore.config import EtcdConfig
from kvstore.etcd import connect as connect_etcd
from lab.api import server as api
from lab.api.runtime import ContainerRef, ExecResult, PodNotRunningError
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.objects import Body, namespace_body

TOKEN = "test-token"
SERVICE_CIDR = "172.20.9.0/24"


class NoPods:
    """No pod runs here."""

    async def exec(self, target: ContainerRef, argv: Sequence[str], stdin: bytes) -> ExecResult:
        raise PodNotRunningError(target.pod)

    async def read_log(self, target: ContainerRef, tail: int | None) -> bytes:
        raise PodNotRunningError(target.pod)


@dataclass
class Kubernetes:
    """Where the API is, and a client of it. `serving` may be entered again: that is its restart."""

    etcd_endpoint: str
    directory: Path
    authority: Authority = field(default_factory=lambda: Authority.create(datetime.now(UTC)))
    port: int = 0

    def __post_init__(self) -> None:
        issued = self.authority.issue(server("default"), datetime.now(UTC))
        (self.directory / "api.pem").write_bytes(issued.certificate_pem + issued.key_pem)
        (self.directory / "api.pem").chmod(0o600)

    @property
    def access(self) -> Access:
        return Access(f"https://127.0.0.1:{self.port}", self.authority.issued.certificate_pem, TOKEN)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[api.ApiServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "api.pem")
        listening = socket.create_server(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        config = EtcdConfig(endpoints=(f"http://{self.etcd_endpoint}",))
        async with (
            connect_etcd(config) as backend,
            api.serving(
                backend,
                sockets=[listening],
                tls=context,
                token=TOKEN,
                service_cidr=SERVICE_CIDR,
                runtime=NoPods(),
            ) as running,
        ):
            yield running

    def write_kubeconfig(self) -> Path:
        ca = base64.b64encode(self.authority.issued.certificate_pem).decode()
        path = self.directory / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "current-context": "test",
                    "clusters": [
                        {
                            "name": "test",
                            "cluster": {"server": self.access.server, "certificate-authority-data": ca},
                        }
                    ],
                    "users": [{"name": "test", "user": {"token": TOKEN}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )
        path.chmod(0o600)
        return path


@asynccontextmanager
async def with_kinds(kubernetes: Kubernetes) -> AsyncIterator[Client]:
    """A client, with Cilium's kinds defined and a namespace `shop`."""
    async with connect(kubernetes.access) as client:
        for resource in (CILIUMNODE, CILIUMIDENTITY, CILIUMENDPOINT):
            await client.apply(CRD, definition(resource))
        await client.apply(NAMESPACE, namespace_body("shop"))
        yield client


async def create_everything(client: Client) -> None:
    await client.create(CILIUMNODE, o.node_body())
    await client.create(CILIUMIDENTITY, o.identity_body())
    await client.create(CILIUMENDPOINT, o.endpoint_body())
    await client.create(SERVICE, o.service_body())
    await client.create(ENDPOINTSLICE, o.slice_body("web-1", o.backend("10.3.1.44")))


def definition(resource: Resource) -> Body:
    names = {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind}
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [version],
        },
    }
