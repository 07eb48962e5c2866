"""The subresources that reach running pods: an HTTP proxy to a pod's address, exec and log."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import aiohttp
import msgspec
from aiohttp import WSMsgType, web

from lab.api.collection import Json
from lab.api.kinds import POD
from lab.api.paths import Target
from lab.api.requests import number
from lab.api.runtime import ContainerRef, ExecResult, PodNotRunningError, PodRuntime
from lab.api.status import StatusError, bad_request, method_not_allowed, not_found, success, unavailable
from lab.api.store import Store

PROXY_SECONDS = 30.0
PROXY_BODY_LIMIT = 16 << 20
EXEC_SECONDS = 600.0
STDIN_LIMIT = 4 << 20
STDIN_QUIET_SECONDS = 1.0  # protocol v4 cannot say that stdin has ended
FRAME = 32 << 10
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_HOP_HEADERS = frozenset(
    {"host", "authorization", "connection", "content-length", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class PodHandlers:
    """Holds no state of its own; `session` is for proxied requests."""

    store: Store
    runtime: PodRuntime
    session: aiohttp.ClientSession

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        name, port = _name_and_port(target.name) if target.subresource == "proxy" else (target.name, 0)
        pod = self.store.get(POD, target.namespace, name)
        if pod is None:
            raise not_found("pods", "", name)
        container = ContainerRef(target.namespace, name, request.query.get("container", ""))
        match target.subresource, request.method:
            case "proxy", _:
                return await self._proxy(request, pod.body, port, target.rest)
            case "log", "GET":
                return await self._log(request, container)
            case "exec", "GET" | "POST":
                return await self._exec(request, container)
        raise method_not_allowed()

    async def _proxy(self, request: web.Request, pod: Json, port: int, path: str) -> web.Response:
        address = pod.get("status", {}).get("podIP")
        if not address:
            raise unavailable(f"pod {pod['metadata']['name']} has no address yet")
        url = f"http://{address}:{port or _first_port(pod)}/{path}"
        if request.query_string:
            url += f"?{request.query_string}"
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
        timeout = aiohttp.ClientTimeout(total=PROXY_SECONDS)
        try:
            async with self.session.request(
                request.method,
                url,
                data=await request.read() or None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                body = await answer.content.read(PROXY_BODY_LIMIT + 1)
                return _passed_on(answer, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            raise unavailable(f"error trying to reach service: {url}: {text}") from error

    async def _log(self, request: web.Request, container: ContainerRef) -> web.Response:
        tail = number(request.query, "tailLines") if "tailLines" in request.query else None
        try:
            text = await self.runtime.read_log(container, tail)
        except PodNotRunningError as error:
            raise bad_request(str(error)) from error
        return web.Response(body=text, content_type="text/plain")

    async def _exec(self, request: web.Request, container: ContainerRef) -> web.StreamResponse:
        argv = request.query.getall("command", [])
        if not argv:
            raise bad_request("you must specify at least 1 command for the container")
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=STDIN_LIMIT)
        if not socket.can_prepare(request).ok:
            raise bad_request("Upgrade request required")
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError):  # the caller went away: nobody to tell
            stdin = await _read_stdin(socket) if request.query.get("stdin") in ("true", "1") else b""
            await _send_result(socket, await self._run(container, argv, stdin))
        return socket

    async def _run(self, container: ContainerRef, argv: list[str], stdin: bytes) -> ExecResult | StatusError:
        try:
            async with asyncio.timeout(EXEC_SECONDS):
                return await self.runtime.exec(container, argv, stdin)
        except PodNotRunningError as error:
            return StatusError(409, "Conflict", str(error))
        except TimeoutError:
            return StatusError(504, "Timeout", f"the command did not end within {EXEC_SECONDS:g} s")


def _name_and_port(text: str) -> tuple[str, int]:
    """`name` or `name:port`; 0 stands for the pod's first declared port."""
    name, _, port = text.partition(":")
    if port and not port.isdigit():
        raise bad_request(f"invalid pod request {text!r}: name or name:port is expected")
    return name, int(port or 0)


def _first_port(pod: Json) -> int:
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports", ()))
    return int(next(ports, {"containerPort": 80})["containerPort"])


def _passed_on(answer: aiohttp.ClientResponse, body: bytes) -> web.Response:
    if len(body) > PROXY_BODY_LIMIT:
        raise unavailable(f"the pod's answer is larger than {PROXY_BODY_LIMIT} bytes")
    kind = answer.headers.get("Content-Type", "application/octet-stream")
    return web.Response(body=body, status=answer.status, headers={"Content-Type": kind})


async def _read_stdin(socket: web.WebSocketResponse) -> bytes:
    """Until the client says that stdin is closed (v5) or falls silent (v4)."""
    quiet = STDIN_QUIET_SECONDS if socket.ws_protocol != PROTOCOLS[0] else EXEC_SECONDS
    data = bytearray()
    while len(data) <= STDIN_LIMIT:
        try:
            message = await socket.receive(timeout=quiet)
        except TimeoutError:
            break
        frame = message.data.encode() if message.type is WSMsgType.TEXT else message.data
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY) or frame[:2] == bytes((_CLOSE, _STDIN)):
            break
        if frame[:1] == bytes((_STDIN,)):
            data += frame[1:]
    return bytes(data)


async def _send_result(socket: web.WebSocketResponse, result: ExecResult | StatusError) -> None:
    if isinstance(result, ExecResult):
        await _send(socket, _STDOUT, result.stdout)
        await _send(socket, _STDERR, result.stderr)
        status = _exit_status(result.exit_code)
    else:
        status = result.body()
    await _send(socket, _ERROR, msgspec.json.encode(status))
    await socket.close()


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    for start in range(0, len(data), FRAME):
        await socket.send_bytes(bytes((channel,)) + data[start : start + FRAME])


def _exit_status(code: int) -> Json:
    if code == 0:
        return success()
    cause = {"reason": "ExitCode", "message": str(code)}
    message = f"command terminated with non-zero exit code: exit status {code}"
    return StatusError(500, "NonZeroExitCode", message, {"causes": [cause]}).body()
