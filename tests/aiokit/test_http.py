from pathlib import Path

import aiohttp
from aiohttp import web

from aiokit.http import serve_tcp, serve_unix


def _app() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


async def test_a_left_behind_socket_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.sock"
    path.parent.mkdir()
    path.touch()
    async with serve_unix(_app(), path):
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://x/") as reply:
            assert await reply.text() == "hello"
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


async def test_a_port_may_be_chosen_by_the_kernel() -> None:
    async with (
        serve_tcp(_app(), "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/") as reply,
    ):
        assert reply.status == 200
