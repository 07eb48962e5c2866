"""How to reach one API server and as whom: read from a kubeconfig or from a pod's service account.

Plain kubeconfigs are read by `k8s.kubeconfig`. The official client's loader reads all others, so that every
form it knows (exec plugins, several files) works here too; it is imported on first use because it is slow.
Everything is held in memory; temporary files that the loader or the TLS library need are removed at once.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from k8s.errors import AccessError
from k8s.kubeconfig import DEFAULT, contexts
from k8s.kubeconfig import read as read_plain

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, whom it must prove to be, and who we are.

    `renew` reads all of it again from where it came from, because tokens, certificates and authorities
    are rotated there; it may block and raises AccessError. None: there is nothing to read again.
    """

    server: str
    ca_pem: bytes = b""  # empty: the system's trusted roots
    token: str = field(default="", repr=False)
    client_cert_pem: bytes = b""
    client_key_pem: bytes = field(default=b"", repr=False)
    namespace: str = "default"
    verify: bool = True
    tls_server_name: str = ""
    renew: Callable[[], Access] | None = field(default=None, repr=False, compare=False)


def load(kubeconfig: Path | None = None, context: str | None = None) -> Access:
    """Read a kubeconfig (None: $KUBECONFIG or the user's default one). Raises AccessError."""
    plain = read_plain(kubeconfig, context)
    found = Access(**asdict(plain)) if plain else _load_once(kubeconfig, context)
    return replace(found, renew=lambda: load(kubeconfig, context))


def in_cluster() -> Access:
    """Read the service account that Kubernetes mounts into a pod. Raises AccessError."""
    namespace = SERVICE_ACCOUNT / "namespace"
    with _readable_errors("in-cluster credentials"):
        configuration = _configuration()
        _loader().load_incluster_config(client_configuration=configuration)
        access = _access(configuration, namespace.read_text().strip() if namespace.exists() else "default")
    return replace(access, renew=in_cluster)


def load_default(kubeconfig: Path | None = None, context: str | None = None) -> Access:
    """What a program should use when it may run in a pod or outside: a kubeconfig if one is named."""
    if kubeconfig or context or os.environ.get("KUBECONFIG") or not SERVICE_ACCOUNT.exists():
        return load(kubeconfig, context)
    return in_cluster()


def tls_context(access: Access) -> ssl.SSLContext:
    """A client context that trusts the cluster's CA and shows the client certificate, if there is one."""
    context = ssl.create_default_context(cadata=access.ca_pem.decode() if access.ca_pem else None)
    if not access.verify:  # only when the kubeconfig says insecure-skip-tls-verify
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.client_cert_pem:
        with tempfile.NamedTemporaryFile(prefix="client-") as both:  # mode 0600; ssl reads files only
            both.write(access.client_cert_pem + b"\n" + access.client_key_pem)
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _load_once(kubeconfig: Path | None, context: str | None) -> Access:
    file = str(kubeconfig) if kubeconfig else None
    named = file or os.environ.get("KUBECONFIG") or str(DEFAULT)
    with _readable_errors(f"kubeconfig {named}"), tempfile.TemporaryDirectory() as scratch:
        configuration = _configuration()
        _expect(named, context)
        _loader().load_kube_config(
            config_file=file,
            context=context,
            client_configuration=configuration,
            persist_config=False,
            temp_file_path=scratch,
        )
        listed, active = _loader().list_kube_config_contexts(config_file=file)
        if context:
            active = next(entry for entry in listed if entry["name"] == context)
        return _access(configuration, active["context"].get("namespace") or "default")


def _expect(named: str, context: str | None) -> None:
    """Raises ValueError where the loader's own words would leave one guessing; the loader finds the rest."""
    files = [path for name in named.split(os.pathsep) if name and (path := Path(name).expanduser()).exists()]
    if not files:
        raise ValueError("no such file: give --kubeconfig, or set KUBECONFIG")
    for file in files:
        if not isinstance(_parsed(file), dict | None):
            raise ValueError("it is no kubeconfig")
    known = [contexts(file) for file in files]
    names = [name for each in known for name in each]
    if context and all(known) and context not in names:
        raise ValueError(f"there is no context {context!r}; its contexts: {', '.join(names)}")


def _parsed(file: Path) -> Any:
    """Raises ValueError where it is no YAML."""
    import yaml  # noqa: PLC0415 - slow to import

    try:
        return yaml.safe_load(file.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError("it is no YAML") from error


def _loader() -> Any:
    import kubernetes.config  # noqa: PLC0415 - slow to import

    return kubernetes.config


def _configuration() -> Any:
    from kubernetes.client import Configuration  # noqa: PLC0415 - slow to import

    return Configuration()


def _access(configuration: Any, namespace: str) -> Access:
    authorization = configuration.api_key.get("BearerToken") or configuration.api_key.get("authorization")
    return Access(
        server=configuration.host.rstrip("/"),
        ca_pem=_content(configuration.ssl_ca_cert),
        token=authorization.split(" ", 1)[-1].strip() if authorization else "",
        client_cert_pem=_content(configuration.cert_file),
        client_key_pem=_content(configuration.key_file),
        namespace=namespace,
        verify=configuration.verify_ssl,
        tls_server_name=getattr(configuration, "tls_server_name", None) or "",
    )


def _content(file: str | None) -> bytes:
    return Path(file).read_bytes() if file else b""


@contextmanager
def _readable_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (_loader().ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise AccessError(f"{what}: {error}") from error
