"""gRPC channels to etcd: which address is dialled next, with which certificates, and until when.

A `Link` is one channel to one address. `Links` hands out the current one and dials the next address
once it is retired, reading the certificate files again. A retired link lives on until its last user
(a long list, a watch) is done, so one failed call does not cut the others. Requests are never repeated
here: a link is only handed out after its connection stands, which is when trying others is harmless.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from kvstore.config import EtcdConfig
from kvstore.errors import TransientError
from kvstore.methods import RANGE
from mesh.ip import with_port

CONNECT_TIMEOUT_SECONDS = 5.0  # for each address; a silent one must not hold back the next for long
_PROBE_TIMEOUT_SECONDS = 1.0  # the channel has failed already: its reason is there at once
# A silent cut must be noticed while it lasts: a connection that lives through one goes on only with TCP's
# next retransmission, which may be half a minute after the line is back. etcd and Cilium's set-up of it
# take a ping every 5 s or more; Cilium's own clients use 15 s and 25 s.
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 10_000, 10_000
REQUIRE_LEADER = (("hasleader", "true"),)  # a member cut off from its quorum refuses, not stalls


Resolve = Callable[[str], Sequence[str]]  # host name -> addresses; none: DNS knows it, or nobody


def by_dns(_host: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Target:
    """What to dial (`address`), and who must answer there (`server_name`, `authority`)."""

    address: str
    server_name: str
    authority: str
    secure: bool


def targets(config: EtcdConfig, resolve: Resolve = by_dns) -> list[Target]:
    """Every address of every endpoint: an aliased host's only, else what `resolve` knows, else its name."""
    aliases = {alias.hostname: alias.ips for alias in config.host_aliases}
    found: list[Target] = []
    for endpoint in config.split_endpoints():
        for host in aliases.get(endpoint.host) or resolve(endpoint.host) or (endpoint.host,):
            address = with_port(host, endpoint.port)
            found.append(Target(address, endpoint.host, endpoint.authority, endpoint.secure))
    return found


@dataclass(eq=False, slots=True)
class Link:
    """One channel to one address. `users` counts the calls and streams on it."""

    target: Target
    channel: Any
    users: int = 0
    retired: bool = field(default=False)

    @property
    def endpoint(self) -> str:
        name, address = self.target.authority, self.target.address
        return name if name == address else f"{name} at {address}"


class Links:
    def __init__(self, config: EtcdConfig, chance: random.Random, resolve: Resolve = by_dns) -> None:
        self._config = config
        self._chance = chance
        self._resolve = resolve
        self._targets: list[Target] = []
        self._next = 0
        self._current: Link | None = None
        self._open: set[Link] = set()
        self._dialling = asyncio.Lock()
        self._closed = False
        self.error = ""

    @property
    def endpoint(self) -> str:
        """Where the current link leads; empty while there is none that stands."""
        link = self._current
        stands = link is not None and link.channel.get_state() is grpc.ChannelConnectivity.READY
        return link.endpoint if link is not None and stands else ""

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Link]:
        """A standing link, dialled if need be. Raises TransientError when no address answers."""
        link = self._current or await self._dial()
        link.users += 1
        try:
            yield link
        finally:
            link.users -= 1
            if link.retired and link.users == 0:
                await self._close(link)

    def retire(self, link: Link, error: str) -> None:
        """The link failed: the next call dials anew, beginning with the next address."""
        link.retired = True
        if self._current is link:
            self._current = None
            self._next += 1
            self.error = error

    async def aclose(self) -> None:
        self._closed = True
        self._current = None
        for link in list(self._open):
            await self._close(link)

    async def _close(self, link: Link) -> None:
        if link in self._open:
            self._open.discard(link)
            await link.channel.close(None)

    async def _dial(self) -> Link:
        async with self._dialling:  # many callers, one attempt: the others find its result
            if self._current is not None:
                return self._current
            if self._closed:
                raise TransientError("the connection is closed")
            failures: list[str] = []
            self._find_targets()
            for _ in self._targets:
                target = self._targets[self._next % len(self._targets)]
                try:
                    self._current = await self._connect(target)
                except TransientError as error:
                    failures.append(str(error))
                    self._next += 1
                else:
                    self.error = ""
                    return self._current
            self.error = "; ".join(failures)
            raise TransientError(self.error)

    def _find_targets(self) -> None:
        """A name may lead elsewhere by now; while it does not, the order stays, to go on with the next."""
        found = targets(self._config, self._resolve)
        if set(found) != set(self._targets):
            self._targets = found
            self._chance.shuffle(self._targets)  # spreads the clients over the endpoints

    async def _connect(self, target: Target) -> Link:
        link = Link(target, _channel(target, self._config))
        self._open.add(link)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                ready = await _reaches_ready(link.channel)
        except TimeoutError:
            await self._close(link)
            raise TransientError(
                f"{link.endpoint}: no connection within {CONNECT_TIMEOUT_SECONDS:g} s"
            ) from None
        except BaseException:
            await self._close(link)
            raise
        if ready:
            return link
        reason = await _why(link.channel)
        await self._close(link)
        raise TransientError(f"{link.endpoint}: {reason}")


def _channel(target: Target, config: EtcdConfig) -> Any:
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", -1),  # the default of 4 MB ends a list at 11,000 keys
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),  # else a new channel may reuse the old TLS session's socket
        ("grpc.enable_http_proxy", 0),  # a proxy of the environment is for web pages, not for a peer's etcd
        ("grpc.enable_retries", 0),  # we decide what may be sent twice
    ]
    if not target.secure:
        return grpc.aio.insecure_channel(target.address, options=options)
    options.append(("grpc.ssl_target_name_override", target.server_name))
    options.append(("grpc.default_authority", target.authority))
    return grpc.aio.secure_channel(target.address, _credentials(config), options=options)


def _credentials(config: EtcdConfig) -> Any:
    """From the files as they are now: they are replaced when certificates are renewed."""
    try:
        ca, key, cert = (
            path.read_bytes() if path else None
            for path in (config.trusted_ca_file, config.key_file, config.cert_file)
        )
    except OSError as error:
        raise TransientError(f"{error.filename}: {error.strerror or error}") from error
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


async def _reaches_ready(channel: Any) -> bool:
    """Whether the connection stands (True) or its first attempt failed (False)."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return True


async def _why(channel: Any) -> str:
    """The reason of a failed connection: gRPC tells it to calls only, so make one that fails at once."""
    probe = channel.unary_unary(RANGE.path, RANGE.request.SerializeToString, RANGE.response.FromString)
    try:
        await probe(RANGE.request(key=b"\0", limit=1), timeout=_PROBE_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        return str(error.details() or error.code().name.lower())
    return "the connection failed and came back"
