"""The plain forms of a kubeconfig, read without the official client, which takes 130 ms to import.

Plain: one file, an http(s) server, and a user with a token or a certificate. Whatever else there is (plugins,
passwords, proxies, several files, a field not known here, any error) is the official loader's business: then
there is no answer.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec
import yaml

DEFAULT = Path("~/.kube/config")

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, StopIteration, yaml.YAMLError)


class Plain(msgspec.Struct, frozen=True):
    """What `k8s.access.Access` needs, under the same names."""

    server: str
    ca_pem: bytes
    token: str
    client_cert_pem: bytes
    client_key_pem: bytes
    namespace: str
    verify: bool
    tls_server_name: str


class _Cluster(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    server: str
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    extensions: list[object] = []


class _User(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""


class _Context(msgspec.Struct):
    cluster: str
    user: str
    namespace: str = ""


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: dict[str, object]


class _NamedUser(msgspec.Struct):
    name: str
    user: dict[str, object]


class _Config(msgspec.Struct, rename="kebab"):
    contexts: list[_NamedContext]
    clusters: list[_NamedCluster]
    users: list[_NamedUser]
    current_context: str = ""


def read(file: Path | None = None, context: str | None = None) -> Plain | None:
    """None: not plain, or not readable."""
    try:
        path = _path(file)
        return _plain(_load(path), path.parent, context) if path else None
    except _UNREADABLE:
        return None


def contexts(file: Path | None = None) -> list[str]:
    """The names of a kubeconfig's contexts, in order; none where it cannot be read. For completion."""
    try:
        path = _path(file)
        return [each.name for each in _load(path).contexts] if path else []
    except _UNREADABLE:
        return []


def _path(file: Path | None) -> Path | None:
    named = str(file) if file else os.environ.get("KUBECONFIG") or str(DEFAULT)
    return None if os.pathsep in named else Path(named).expanduser()


def _load(path: Path) -> _Config:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return msgspec.convert(yaml.load(path.read_bytes(), Loader=loader), _Config)


def _plain(config: _Config, folder: Path, name: str | None) -> Plain:
    wanted = name or config.current_context
    context = next(each.context for each in config.contexts if each.name == wanted)
    cluster = msgspec.convert(
        {each.name: each.cluster for each in config.clusters}[context.cluster], _Cluster
    )
    user = msgspec.convert({each.name: each.user for each in config.users}[context.user], _User)
    return Plain(
        server=cluster.server.rstrip("/"),
        ca_pem=_content(cluster.certificate_authority_data, cluster.certificate_authority, folder),
        token=user.token.strip() or _content("", user.token_file, folder).decode().strip(),
        client_cert_pem=_content(user.client_certificate_data, user.client_certificate, folder),
        client_key_pem=_content(user.client_key_data, user.client_key, folder),
        namespace=context.namespace or "default",
        verify=not cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name,
    )


def _content(data: str, file: str, folder: Path) -> bytes:
    """What is inline counts; a file's place is beside the kubeconfig."""
    if data:
        return base64.b64decode(data, validate=True)
    return (folder / file).read_bytes() if file else b""
