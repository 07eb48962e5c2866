"""A server and its load, for both ends of a path: `serve PORT`, then `stream`, `request` or `connect`.

Plain Python at both ends of every path that is compared, so that what differs is the path. Prints one number:
bytes a second, microseconds of the median connect and request, connections a second, or nanoseconds of a
UDP connect(), which sends nothing: what is left is the socket and whatever is hooked to it.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from statistics import median

CHUNK = 1 << 18
SECONDS = 60.0  # any wait


def serve(port: int) -> None:
    """Reads what comes until the end, answers a request of one line with one line."""
    with socket.create_server(("0.0.0.0", port), backlog=1024) as server:
        print("ready", flush=True)  # noqa: T201 - this is a program's output
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    buffer = bytearray(CHUNK)
    with connection:
        try:
            while got := connection.recv_into(buffer):
                if buffer[got - 1] == 10:
                    connection.sendall(b"here\n")
        except OSError:
            return


def stream(host: str, port: int, seconds: float) -> float:
    data, sent = bytes(CHUNK), 0
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            connection.sendall(data)
            sent += len(data)
        connection.sendall(b"\n")
        connection.recv(16)  # all of it has arrived
        return sent / (time.monotonic() - begun)


def request(host: str, port: int, seconds: float) -> float:
    times, end = list[float](), time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        _once(host, port)
        times.append((time.perf_counter() - begun) * 1e6)
    return median(times)


def connect(host: str, port: int, seconds: float) -> float:
    made, begun = 0, time.monotonic()
    while time.monotonic() < begun + seconds:
        _once(host, port)
        made += 1
    return made / (time.monotonic() - begun)


def udp(host: str, port: int, seconds: float) -> float:
    """The median of a thousand connects at a time."""
    times, end = list[float](), time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while time.monotonic() < end:
            begun = time.perf_counter_ns()
            for _ in range(1000):
                sock.connect((host, port))
            times.append((time.perf_counter_ns() - begun) / 1000)
    return median(times)


def _once(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        connection.sendall(b"who\n")
        connection.recv(16)


LOADS = {"stream": stream, "request": request, "connect": connect, "udp": udp}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        load = LOADS[sys.argv[1]]
        print(load(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))  # noqa: T201 - this is a program's output
