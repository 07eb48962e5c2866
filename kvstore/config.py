"""How to reach one etcd: Cilium's YAML (etcd's client format plus `cilium-host-aliases`), read strictly.

An unknown key is an error that names the file and the key: a misspelt certificate option must not
become a connection without one. The certificate files are only named here; `kvstore.link` reads them
again for every connection, so that they may be replaced on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from kvstore.errors import KVStoreError
from mesh.ip import with_port

_FILES = {"trusted-ca-file": "trusted_ca_file", "cert-file": "cert_file", "key-file": "key_file"}
_KEYS = {"endpoints", "cilium-host-aliases", *_FILES}
_DEFAULT_PORT = 2379


class ConfigError(KVStoreError):
    """The configuration cannot be used; the text names the source and the key."""


@dataclass(frozen=True, slots=True)
class HostAlias:
    """A host name that is dialled at these addresses, without DNS."""

    hostname: str
    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint's parts. Its certificate must show `host`, whatever address is dialled."""

    host: str
    port: int
    secure: bool

    @property
    def authority(self) -> str:
        return with_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """`endpoints` are URLs, or host:port (which is TLS exactly when a CA file is given)."""

    endpoints: tuple[str, ...]
    trusted_ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    host_aliases: tuple[HostAlias, ...] = ()

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            split_endpoint(endpoint, tls_by_default=False)
        if not self.endpoints:
            raise ConfigError("endpoints: at least one is needed")
        if (self.cert_file is None) != (self.key_file is None):
            raise ConfigError("cert-file and key-file: both or none")

    def split_endpoints(self) -> tuple[Endpoint, ...]:
        tls = self.trusted_ca_file is not None
        return tuple(split_endpoint(endpoint, tls_by_default=tls) for endpoint in self.endpoints)

    @property
    def certificate_files(self) -> tuple[Path, ...]:
        """Where certificates are: ours and those that we trust."""
        return tuple(file for file in (self.cert_file, self.trusted_ca_file) if file is not None)


def split_endpoint(text: str, *, tls_by_default: bool) -> Endpoint:
    url = text if "://" in text else f"{'https' if tls_by_default else 'http'}://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"endpoints: {text!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query:
        raise ConfigError(f"endpoints: {text!r} is not http(s)://host:port")
    if parts.username is not None:
        raise ConfigError("endpoints: a URL must not carry a user or password")
    return Endpoint(host, port or _DEFAULT_PORT, parts.scheme == "https")


def load(path: Path) -> EtcdConfig:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    return parse(text, str(path))


def parse(text: bytes | str, source: str) -> EtcdConfig:
    """Read Cilium's YAML; `source` names it in errors."""
    try:
        return _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is an error, where PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"{key}: given twice")
        return super().construct_mapping(node, deep)


def _parse(text: bytes | str) -> EtcdConfig:
    try:
        document = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ConfigError("not a YAML mapping")
    _refuse_unknown(document, _KEYS, "")
    return EtcdConfig(
        endpoints=_strings(document.get("endpoints"), "endpoints"),
        host_aliases=_aliases(document.get("cilium-host-aliases", [])),
        **{field: _file(document, key) for key, field in _FILES.items()},
    )


def _refuse_unknown(mapping: dict[Any, Any], known: Iterable[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}{key}: unknown key")


def _strings(value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
        raise ConfigError(f"{key}: a list of one or more strings is needed")
    return tuple(value)


def _file(document: dict[Any, Any], key: str) -> Path | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key}: a file name is needed")
    return Path(value)


def _aliases(value: object) -> tuple[HostAlias, ...]:
    key = "cilium-host-aliases"
    if not isinstance(value, list):
        raise ConfigError(f"{key}: a list is needed")
    aliases: dict[str, HostAlias] = {}
    for item in value:
        if not isinstance(item, dict):
            raise ConfigError(f"{key}: each item needs hostname and ips")
        _refuse_unknown(item, ("hostname", "ips"), f"{key}: ")
        hostname = item.get("hostname")
        if not isinstance(hostname, str) or not hostname:
            raise ConfigError(f"{key}: hostname: must not be empty")
        if hostname in aliases:
            raise ConfigError(f"{key}: hostname: {hostname} is given twice")
        aliases[hostname] = HostAlias(hostname, _addresses(item.get("ips"), f"{key}: ips of {hostname}"))
    return tuple(aliases.values())


def _addresses(value: object, key: str) -> tuple[str, ...]:
    texts = _strings(value, key)
    try:
        return tuple(str(ip_address(text)) for text in texts)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
