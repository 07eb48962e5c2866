"""Asking the agent on this node: GET over its unix socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import wraps
from typing import Any

import click

from cli.errors import CommandError

SOCKET = "/var/run/cilium/cilium.sock"
HOST_VARIABLE = "CILIUM_SOCK"
DEFAULT_SECONDS = 30.0


class AbsentError(CommandError):
    """The agent has no such thing."""


async def get(host: str, path: str, seconds: float = DEFAULT_SECONDS) -> bytes:
    """The body of the answer. Raises CommandError in words, AbsentError for what the agent does not have."""
    import aiohttp  # noqa: PLC0415 - help stays quick

    socket = host.removeprefix("unix://")
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session,
            session.get(f"http://localhost{path}") as answer,
        ):
            body = await answer.read()
            if answer.status != 200:
                kind = AbsentError if answer.status == 404 else CommandError
                raise kind(_refusal(answer.status, path, body))
            return body
    except TimeoutError as error:
        raise CommandError(f"the agent at {socket} did not answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise CommandError(f"no agent answers at {socket}: is it running on this node? ({error})") from error


async def lines(host: str, path: str) -> AsyncGenerator[bytes]:
    """The lines of an answer that does not end; empty ones are left out. Raises CommandError in words."""
    import aiohttp  # noqa: PLC0415 - help stays quick

    socket = host.removeprefix("unix://")
    timeout = aiohttp.ClientTimeout(total=None, sock_read=DEFAULT_SECONDS)  # it writes every few seconds
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session,
            session.get(f"http://localhost{path}") as answer,
        ):
            if answer.status != 200:
                raise CommandError(_refusal(answer.status, path, await answer.read()))
            async for line in answer.content:
                if line.strip():
                    yield line.strip()
    except TimeoutError as error:
        raise CommandError(f"the agent at {socket} says nothing any more") from error
    except (aiohttp.ClientError, OSError) as error:
        raise CommandError(f"no agent answers at {socket}: is it running on this node? ({error})") from error


def _refusal(status: int, path: str, body: bytes) -> str:
    """The agent's own words where it has some."""
    import msgspec  # noqa: PLC0415 - help stays quick

    try:
        return f"the agent answered {status}: {msgspec.json.decode(body)['message']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"the agent answered {status} to {path}: {body[:200].decode('utf-8', 'replace')}"


def with_host(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add -H/--host, also given before the subcommand; the command gets `host`."""

    @click.option("-H", "--host", envvar=HOST_VARIABLE, help=f"Agent's socket (default: {SOCKET}).")
    @click.pass_context
    @wraps(command)
    def wrapper(ctx: click.Context, /, *args: Any, host: str | None, **kwargs: Any) -> Any:
        return command(*args, host=host or ctx.obj or SOCKET, **kwargs)

    return wrapper
