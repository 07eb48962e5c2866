"""Serving an aiohttp application while a block runs, on a unix socket or a TCP port."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

SHUTDOWN_SECONDS = 2.0  # open requests get this long when we end


@asynccontextmanager
async def serve_unix(app: web.Application, path: Path, mode: int = 0o660) -> AsyncGenerator[None]:
    """Serve on `path`; a socket that a killed predecessor left behind is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    async with _running(app) as runner:
        await web.UnixSite(runner, str(path)).start()
        path.chmod(mode)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@asynccontextmanager
async def serve_tcp(app: web.Application, host: str, port: int) -> AsyncGenerator[int]:
    """Serve on host:port; gives the port, which matters when 0 was asked for."""
    async with _running(app) as runner:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]


@asynccontextmanager
async def _running(app: web.Application) -> AsyncGenerator[web.AppRunner]:
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()
