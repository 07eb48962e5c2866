"""Walks the way to an etcd and says where it ends: configuration, names, TCP, TLS, certificates, etcd itself.

For people: everything is tried, also after a failure, and every failure is named. Changes nothing: connects
as our programs do, with the same files, and reads what every client of a mesh may read. Private keys are
loaded into TLS and never shown.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from certs import bundle, describe
from certs.check import Purpose, check, load_chain
from certs.errors import CertificateError
from kvstore import etcd
from kvstore.config import Endpoint, EtcdConfig, load
from kvstore.errors import KVStoreError
from kvstore.link import Resolve, by_dns
from mesh import clusterconfig, keys
from mesh.errors import MeshError
from mesh.ip import with_port
from peering.diagnosis import Diagnosis, Section
from peering.ownfiles import complaints
from peering.peers import MARK

T = TypeVar("T")

DEFAULT_SECONDS = 5.0  # for each step, as Cilium's commands have it


def configured(directory: Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """The peers configured in a directory, or those of `names`, present or not. Raises OSError."""
    if names:
        return {name: directory / name for name in names}
    files = (path for path in sorted(directory.iterdir()) if path.is_file())
    return {path.name: path for path in files if MARK in path.read_bytes()}


def hosts(found: Mapping[str, Path]) -> set[str]:
    """The names that the configurations lead to and give no address for; of bad ones none."""
    names: set[str] = set()
    for path in found.values():
        with suppress(KVStoreError):
            config = load(path)
            aliases = {alias.hostname for alias in config.host_aliases}
            names |= {endpoint.host for endpoint in config.split_endpoints()} - aliases
    return names


async def peers(
    found: Mapping[str, Path], seconds: float = DEFAULT_SECONDS, *, resolve: Resolve = by_dns
) -> list[Diagnosis]:
    """One after another, in order: the output of several at once would say less about time-outs."""
    return [
        await diagnose(name, path, seconds, cluster=name, resolve=resolve) for name, path in found.items()
    ]


async def diagnose(
    name: str,
    path: Path,
    seconds: float = DEFAULT_SECONDS,
    *,
    cluster: str = "",
    resolve: Resolve = by_dns,
) -> Diagnosis:
    """`cluster` is whose configuration must be there; empty for our own etcd. `resolve` knows addresses of
    Services, as the program's own does."""
    found = Diagnosis(name, str(path))
    try:
        config = load(path)
    except KVStoreError as error:
        found.note(Section.CONFIGURATION, False, str(error))
        return found
    await _endpoints(found, config, seconds, resolve)
    _certificates(found, config)
    await _client(found, config, seconds, cluster, resolve)
    return found


async def _endpoints(found: Diagnosis, config: EtcdConfig, seconds: float, resolve: Resolve) -> None:
    aliases = {alias.hostname: alias.ips for alias in config.host_aliases}
    for url, endpoint in zip(config.endpoints, config.split_endpoints(), strict=True):
        found.note(Section.ENDPOINTS, None, url)
        addresses = aliases.get(endpoint.host) or await _resolved(found, endpoint, seconds, resolve)
        if endpoint.host in aliases:
            text = f"Host alias: {endpoint.host} is dialled at {', '.join(addresses)}"
            found.note(Section.ENDPOINTS, None, text)
        for address in addresses:
            if await _tcp(found, address, endpoint.port, seconds) and endpoint.secure:
                await _tls(found, config, endpoint, address, seconds)


async def _resolved(found: Diagnosis, endpoint: Endpoint, seconds: float, resolve: Resolve) -> Sequence[str]:
    if known := resolve(endpoint.host):
        found.note(Section.ENDPOINTS, True, f"Service resolved to: {', '.join(known)}")
        return known
    loop = asyncio.get_running_loop()
    try:
        lookup = loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        answers = await _within(lookup, seconds)
    except (OSError, UnicodeError) as error:
        found.note(Section.ENDPOINTS, False, f"Hostname {endpoint.host} not resolved: {_why(error, seconds)}")
        return ()
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    found.note(Section.ENDPOINTS, True, f"Hostname resolved to: {', '.join(addresses)}")
    return addresses


async def _tcp(found: Diagnosis, address: str, port: int, seconds: float) -> bool:
    try:
        _, writer = await _within(asyncio.open_connection(address, port), seconds)
    except OSError as error:
        text = f"TCP connection to {with_port(address, port)} failed: {_why(error, seconds)}"
        found.note(Section.ENDPOINTS, False, text)
        return False
    await _closed(writer)
    found.note(
        Section.ENDPOINTS, True, f"TCP connection successfully established to {with_port(address, port)}"
    )
    return True


async def _tls(
    found: Diagnosis, config: EtcdConfig, endpoint: Endpoint, address: str, seconds: float
) -> None:
    where = with_port(address, endpoint.port)
    try:
        context = _context(config)
        dialling = asyncio.open_connection(address, endpoint.port, ssl=context, server_hostname=endpoint.host)
        _, writer = await _within(dialling, seconds)
    except (OSError, ValueError) as error:
        text = f"TLS connection to {where} failed: {_why(error, seconds)}"
        found.note(Section.ENDPOINTS, False, text, await _server_findings(config, endpoint, address, seconds))
        return
    session = writer.get_extra_info("ssl_object")
    details = (f"Negotiated {session.version()}, {session.cipher()[0]}", *_shown(session.getpeercert(True)))
    await _closed(writer)
    found.note(Section.ENDPOINTS, True, f"TLS connection successfully established to {where}", details)


async def _server_findings(
    config: EtcdConfig, endpoint: Endpoint, address: str, seconds: float
) -> Sequence[str]:
    """Who answered there, and what is wrong with its certificate. Nothing is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        dialling = asyncio.open_connection(address, endpoint.port, ssl=context, server_hostname=endpoint.host)
        _, writer = await _within(dialling, seconds)
    except (OSError, ValueError):
        return ()
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    await _closed(writer)
    try:
        trusted = bundle.parse(config.trusted_ca_file.read_bytes() if config.trusted_ca_file else b"")
        pem = ssl.DER_cert_to_PEM_cert(shown).encode()
        now = datetime.now(UTC)
        wrong = check(pem, trusted, purpose=Purpose.SERVER, now=now, name=endpoint.host)
    except (CertificateError, OSError) as error:
        return (str(error), *_shown(shown))
    return (*(finding.text for finding in wrong), *_shown(shown))


def _certificates(found: Diagnosis, config: EtcdConfig) -> None:
    for file, title in (
        (config.trusted_ca_file, "Certificates of trusted authorities"),
        (config.cert_file, "Client certificate"),
    ):
        if file is None:
            found.note(Section.CERTIFICATES, None, f"{title}: none configured")
            continue
        try:
            chain = load_chain(file.read_bytes())
        except (CertificateError, OSError) as error:
            found.note(Section.CERTIFICATES, False, f"{title}: {file}: {error}")
        else:
            details = [line for certificate in chain for line in describe.lines(certificate)]
            found.note(Section.CERTIFICATES, True, f"{title}: {file}", details)
    if wrong := complaints(config, datetime.now(UTC)):
        found.note(Section.CERTIFICATES, False, wrong)


async def _client(
    found: Diagnosis, config: EtcdConfig, seconds: float, cluster: str, resolve: Resolve
) -> None:
    try:
        async with etcd.connect(config, resolve=resolve) as backend:
            beats = await _within(backend.get_prefix(keys.HEARTBEAT), seconds)
            found.note(Section.CLIENT, True, "Etcd connection established, reading is authorized")
            found.note(Section.CLIENT, None, f"Etcd cluster ID: {backend.cluster_id:x}")
            beat = beats[0].value.decode(errors="replace")[:64] if beats else "none: its writer is not there"
            found.note(Section.CLIENT, bool(beats), f"Heartbeat: {beat}")
            if cluster:
                pair = await _within(backend.get(keys.cluster_config(cluster)), seconds)
                _cluster_config(found, cluster, pair.value if pair else None)
    except (KVStoreError, OSError) as error:
        found.note(Section.CLIENT, False, f"Etcd cannot be read: {_why(error, seconds)}")


def _cluster_config(found: Diagnosis, cluster: str, value: bytes | None) -> None:
    if value is None:
        found.note(
            Section.CLIENT, False, f"No cluster configuration of {cluster}: is this the right cluster?"
        )
        return
    try:
        remote = clusterconfig.decode(cluster, value)
    except MeshError as error:
        found.note(Section.CLIENT, False, f"Cluster configuration of {cluster} not usable: {error}")
        return
    found.note(Section.CLIENT, True, f"Cluster configuration of {cluster}: cluster ID {remote.id}")


def _context(config: EtcdConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.trusted_ca_file)
    if config.cert_file is not None:
        context.load_cert_chain(config.cert_file, config.key_file)
    context.set_alpn_protocols(["h2"])
    return context


async def _within(work: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work


async def _closed(writer: asyncio.StreamWriter) -> None:
    """An end that the server does not take politely is no finding."""
    writer.close()
    with suppress(OSError, TimeoutError):
        await _within(writer.wait_closed(), 1.0)


def _shown(der: bytes | None) -> list[str]:
    if not der:
        return []
    (leaf,) = load_chain(ssl.DER_cert_to_PEM_cert(der).encode())
    return [f"Server certificate: {line}" for line in describe.lines(leaf)]


def _why(error: BaseException, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return str(error) or type(error).__name__
