"""The exporter's settings: checked once, frozen, plain words when something is wrong.

Promises: a `Config` that exists is usable; whatever is unknown or contradictory raises `ConfigError`
with one line that names the flag. Does not read flags or the environment: `__main__` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from clustermesh_apiserver.pace import DEFAULT_BOOTSTRAP_RATE, Pace
from kvstore.config import EtcdConfig
from kvstore.config import load as load_etcd
from kvstore.errors import KVStoreError
from mesh.addressing import PeerScope, member_scope
from mesh.errors import MeshError
from mesh.podlabels import DEFAULT_FILTER, LabelFilter, parse_filter
from mesh.servicemode import ServiceMode

LEASE_TTL_SECONDS = (25, 24 * 3600)  # what Cilium accepts for --kvstore-lease-ttl

CONFIG_OPTION, ADDRESS_OPTION = "etcd.config", "etcd.address"
RATE_OPTION, BOOTSTRAP_RATE_OPTION = "etcd.qps", "etcd.bootstrapQps"
# options of Cilium's client that tune what ours does by itself: accepted so that its charts work, no effect
IGNORED_OPTIONS = frozenset({"etcd.maxInflight", "etcd.limit"})
_OPTIONS = IGNORED_OPTIONS | {CONFIG_OPTION, ADDRESS_OPTION, RATE_OPTION, BOOTSTRAP_RATE_OPTION}

_DURATION = re.compile(r"([0-9]+)([hms])")
_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1}


class ConfigError(Exception):
    """A setting is missing, unknown or contradicts another."""


class IdentityMode(Enum):
    """Who knows the cluster's endpoints: Cilium's objects, or we do from Pods, with numbers from our etcd."""

    CRD = "crd"
    KVSTORE = "kvstore"


@dataclass(frozen=True, slots=True)
class Config:
    """All that `clustermesh-apiserver clustermesh` needs to know."""

    cluster: PeerScope
    etcd: EtcdConfig
    kubeconfig: Path | None = None  # None: the service account of the pod we run in
    lease_ttl_seconds: int = 900
    default_global_namespace: bool = True
    endpoint_slices: bool = False  # take IPs from CiliumEndpointSlices
    identity_mode: IdentityMode = IdentityMode.CRD
    label_filter: LabelFilter = DEFAULT_FILTER  # for KVSTORE: which labels make an identity
    service_mode: ServiceMode = ServiceMode.PREFER_LEGACY
    mcs_api: bool = False  # export ServiceExports
    pace: Pace | None = None  # None: as fast as etcd takes it
    health_host: str = "0.0.0.0"  # the kubelet probes the pod's address
    health_port: int = 9880
    metrics: tuple[str, int] | None = None  # host and port of their own; the health port has them anyway


def cluster_scope(name: str, cluster_id: int, max_connected_clusters: int) -> PeerScope:
    """Raises ConfigError unless this can be a member of a mesh."""
    try:
        return member_scope(name, cluster_id, max_connected_clusters)
    except MeshError as error:
        raise ConfigError(str(error)) from error


def etcd_config(options: Iterable[str], endpoint: str = "") -> EtcdConfig:
    """Where our own etcd is: from `--kvstore-opt key=value` or a loopback `--etcd-endpoint`."""
    chosen = parse_options(options)
    address = endpoint or chosen.get(ADDRESS_OPTION, "")
    if address and CONFIG_OPTION in chosen:
        raise ConfigError(f"give either --kvstore-opt {CONFIG_OPTION} or an etcd endpoint, not both")
    if address:
        return plain_endpoint(address)
    if CONFIG_OPTION not in chosen:
        raise ConfigError(f"where is etcd? give --kvstore-opt {CONFIG_OPTION}=FILE or --etcd-endpoint URL")
    try:
        return load_etcd(Path(chosen[CONFIG_OPTION]))
    except KVStoreError as error:
        raise ConfigError(f"--kvstore-opt {CONFIG_OPTION}: {error}") from error


def parse_options(options: Iterable[str]) -> dict[str, str]:
    """`key=value` items, also several in one text separated by commas, as Cilium's flag takes them."""
    chosen: dict[str, str] = {}
    for item in (part for option in options for part in option.split(",") if part):
        key, separator, value = item.partition("=")
        if not separator or not value:
            raise ConfigError(f"--kvstore-opt {item!r} is not key=value")
        if key not in _OPTIONS:
            raise ConfigError(f"--kvstore-opt: unknown option {key!r}")
        chosen[key] = value
    return chosen


def parse_pace(options: Iterable[str]) -> Pace | None:
    """`etcd.qps` bounds our requests where it is given; one of ours stands for up to 100 of Cilium's."""
    chosen = parse_options(options)
    if RATE_OPTION not in chosen:
        return None
    bootstrap = chosen.get(BOOTSTRAP_RATE_OPTION, str(DEFAULT_BOOTSTRAP_RATE))
    return Pace(_rate(RATE_OPTION, chosen[RATE_OPTION]), _rate(BOOTSTRAP_RATE_OPTION, bootstrap))


def _rate(option: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e9:
        raise ConfigError(f"--kvstore-opt {option}: {text!r} is not a number of requests a second")
    return rate


def plain_endpoint(url: str) -> EtcdConfig:
    """An etcd without TLS; only on loopback, because whoever reads the wire could rewrite the mesh."""
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme == "http" and parts.hostname and parts.port
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ConfigError(f"--etcd-endpoint {url!r} is not http://HOST:PORT")
    if not _is_loopback(parts.hostname or ""):
        raise ConfigError(f"--etcd-endpoint {url!r}: without TLS only a loopback address is accepted")
    return EtcdConfig(endpoints=(url,))


def parse_address(text: str, flag: str) -> tuple[str, int] | None:
    """Host and port of `HOST:PORT` or `:PORT` (all addresses), as Go takes it; None for an empty text."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or "/" in host:
        raise ConfigError(f"{flag} {text!r} is not HOST:PORT or :PORT")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)


def parse_duration(text: str, flag: str, allowed: tuple[int, int] = LEASE_TTL_SECONDS) -> int:
    """Seconds of a duration as Go writes it: 15m, 900s, 1h30m."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"{flag} {text!r} is not a duration like 15m or 900s")
    seconds = sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if not allowed[0] <= seconds <= allowed[1]:
        raise ConfigError(f"{flag} must be between {allowed[0]}s and {allowed[1]}s, not {text}")
    return seconds


def label_filter(text: str, mode: IdentityMode) -> LabelFilter:
    """Cilium's `--labels`; it means something only where we make the identities."""
    if text and mode is not IdentityMode.KVSTORE:
        raise ConfigError("--labels needs --identity-allocation-mode=kvstore: else Cilium's agents choose")
    try:
        return parse_filter(text)
    except MeshError as error:
        raise ConfigError(f"--labels: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
