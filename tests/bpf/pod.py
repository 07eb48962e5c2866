"""A process in a pod: answers on TCP and UDP, and does what its parent asks for.

Run as `python pod.py <name> <cgroup directory>`: it joins the cgroup before it opens any
socket. Commands come as lines of JSON on stdin, answers go as lines of JSON to stdout.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 2.0  # seconds until an answer that does not come counts as absent


class Pod:
    def __init__(self, name: str) -> None:
        self.name = name
        self.streams: list[socket.socket] = []
        self.listeners: list[socket.socket] = []

    def serve(self, port: int) -> None:
        """Answer with our name and what was sent, on TCP and on UDP."""
        for anywhere in ("0.0.0.0", "::"):
            tcp = socket.create_server((anywhere, port), family=_family(anywhere))
            udp = socket.socket(_family(anywhere), socket.SOCK_DGRAM)
            if ":" in anywhere:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.bind((anywhere, port))
            self.listeners += [tcp, udp]
            threading.Thread(target=self._accept, args=(tcp,), daemon=True).start()
            threading.Thread(target=self._answer, args=(udp,), daemon=True).start()

    def _accept(self, listener: socket.socket, work: Callable[[socket.socket], None] | None = None) -> None:
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=work or self._echo, args=(stream,), daemon=True).start()

    def _echo(self, stream: socket.socket) -> None:
        with stream:
            while data := stream.recv(65536):
                stream.sendall(f"{self.name}:".encode() + data)

    def _answer(self, listener: socket.socket) -> None:
        while True:
            data, peer = listener.recvfrom(65536)
            listener.sendto(f"{self.name}:".encode() + data, peer)

    def mirror(self, port: int) -> None:
        """Send everything back that a connection brings, once it has all come."""
        for anywhere in ("0.0.0.0", "::"):
            listener = socket.create_server((anywhere, port), family=_family(anywhere))
            self.listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, _mirrored), daemon=True).start()

    def transfer(self, ip: str, port: int, size: int, patience: float = PATIENCE) -> bool:
        """Whether so many bytes come back from a mirror as they were sent."""
        data = os.urandom(size)
        with socket.create_connection((ip, port), timeout=patience) as stream:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            return _all_of(stream) == data

    def open(
        self, ip: str, port: int, patience: float = PATIENCE, source: str = "", source_port: int = 0
    ) -> dict[str, Any]:
        ends = {"source_address": (source, source_port)}
        stream = socket.create_connection((ip, port), timeout=patience, **ends)
        self.streams.append(stream)
        return {"stream": len(self.streams) - 1, "peer": stream.getpeername()}

    def say(self, stream: int, text: str, patience: float = PATIENCE) -> str:
        opened = self.streams[stream]
        opened.settimeout(patience)
        opened.sendall(text.encode())
        return opened.recv(65536).decode()

    def echo(self, stream: int, size: int, patience: float = PATIENCE) -> int:
        """Send so many bytes; how many came back, with the names before them."""
        opened = self.streams[stream]
        opened.settimeout(patience)
        opened.sendall(b"x" * size)
        came = 0
        while came < size:
            came += len(opened.recv(65536))
        return came

    def reset(self, stream: int) -> None:
        """End a connection at once, so that its port is free."""
        self.streams[stream].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.streams[stream].close()

    def tcp(self, ip: str, port: int, patience: float = PATIENCE) -> dict[str, Any]:
        with socket.create_connection((ip, port), timeout=patience) as stream:
            stream.sendall(b"hello")
            answer = {"said": stream.recv(100).decode(), "peer": stream.getpeername()}
            stream.shutdown(socket.SHUT_WR)
            _all_of(stream)  # the other side's end has come: no packet of this is left for another test
            return answer

    def udp_connected(self, ip: str, port: int) -> dict[str, Any]:
        with socket.socket(_family(ip), socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((ip, port))
            sock.send(b"hello")
            return {"said": sock.recv(100).decode(), "peer": sock.getpeername()}

    def udp(
        self, ip: str, port: int, size: int = 5, patience: float = PATIENCE, source_port: int = 0
    ) -> dict[str, Any]:
        with socket.socket(_family(ip), socket.SOCK_DGRAM) as sock:
            sock.bind(("", source_port))
            sock.settimeout(patience)
            sock.sendto(b"x" * size, (ip, port))
            data, peer = sock.recvfrom(65536)
            return {"said": data[:40].decode(), "size": len(data), "peer": peer}

    def bind(self, ip: str, port: int, kind: str = "SOCK_STREAM", then: int = 0) -> int:
        """The port that it became. `then`: when that is refused the same socket asks for this one."""
        with socket.socket(_family(ip), getattr(socket, kind)) as sock:
            try:
                sock.bind((ip, port))
            except PermissionError:
                if not then:
                    raise
                sock.bind((ip, then))
            return int(sock.getsockname()[1])

    def ping6(self, ip: str, patience: float = PATIENCE) -> bool:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            number = os.getpid() & 0xFFFF
            sock.sendto(struct.pack("!BBHHH", 128, 0, 0, number, 1), (ip, 0))  # the kernel sums it up
            deadline = time.monotonic() + patience
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                data, (peer, *_) = sock.recvfrom(65536)
                kind, _, _, identifier, _ = struct.unpack_from("!BBHHH", data)
                if (kind, identifier, peer) == (129, number, ip):
                    return True
        raise TimeoutError("no echo")

    def ping(self, ip: str, patience: float = PATIENCE) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            number = os.getpid() & 0xFFFF
            sock.sendto(_echo_request(number), (ip, 0))
            deadline = time.monotonic() + patience
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                data, (peer, _) = sock.recvfrom(65536)
                kind, _, _, identifier, _ = struct.unpack_from("!BBHHH", data, 20)
                if (kind, identifier, peer) == (0, number, ip):
                    return True
        raise TimeoutError("no echo")

    def udp_summed(self, source: str, ip: str, port: int) -> str:
        """As `udp`, but with a checksum of our own instead of one that the device would fill in."""
        with socket.socket(_family(ip), socket.SOCK_DGRAM) as answers:
            answers.bind((source, 0))
            answers.settimeout(PATIENCE)
            _send_packet(source, ip, _udp(source, ip, answers.getsockname()[1], port, b"hello"))
            return answers.recv(100).decode()

    def too_big(self, ip: str, port: int, mtu: int) -> None:
        """Ask by UDP, and tell who answers, as a router on the way would, that its packet was too big."""
        v6 = ":" in ip
        protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
        with (
            socket.socket(_family(ip), socket.SOCK_DGRAM) as sock,
            socket.socket(_family(ip), socket.SOCK_RAW, protocol) as raw,
        ):
            sock.settimeout(PATIENCE)
            sock.connect((ip, port))
            sock.send(b"hello")
            sock.recv(100)
            own, own_port = sock.getsockname()[:2]
            quoted = _header(ip, own, 17, mtu - 19) + struct.pack("!HHHH", port, own_port, mtu - 19, 0)
            if v6:  # the kernel sums it up
                icmp = struct.pack("!BBHI", 2, 0, 0, mtu) + quoted
            else:
                icmp = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
                icmp = icmp[:2] + struct.pack("!H", _sum(icmp)) + icmp[4:]
            raw.sendto(icmp, (ip, 0))

    def send_as(self, source: str, ip: str, port: int) -> None:
        """One UDP packet with a source address that is not ours."""
        _send_packet(source, ip, _udp(source, ip, 4444, port, b"forged"))

    def send_raw6(self, packet: str, ip: str, device: str = "eth0") -> None:
        """One whole packet of IPv6, in hexadecimal digits."""
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(bytes.fromhex(packet), (ip, 0, 0, socket.if_nametoindex(device)))


def _mirrored(stream: socket.socket) -> None:
    with stream:
        stream.sendall(_all_of(stream))


def _all_of(stream: socket.socket) -> bytes:
    chunks = []
    while chunk := stream.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def _packed(ip: str) -> bytes:
    return socket.inet_pton(_family(ip), ip)


def _header(source: str, ip: str, protocol: int, size: int) -> bytes:
    """Of a packet with so many bytes after it, which no router may divide."""
    ends = _packed(source) + _packed(ip)
    if ":" in ip:
        return struct.pack("!IHBB", 6 << 28, size, protocol, 64) + ends
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 7, 0x4000, 64, protocol, 0) + ends


def _udp(source: str, ip: str, source_port: int, port: int, payload: bytes) -> bytes:
    udp = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    pseudo = _packed(source) + _packed(ip) + struct.pack("!IHH", len(udp), 0, 17)
    return udp[:6] + struct.pack("!H", _sum(pseudo + udp) or 0xFFFF) + udp[8:]


def _send_packet(source: str, ip: str, udp: bytes) -> None:
    with socket.socket(_family(ip), socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(_header(source, ip, 17, len(udp)) + udp, (ip, 0))


def _echo_request(identifier: int) -> bytes:
    total = 0x0800 + identifier + 1
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHH", 8, 0, checksum, identifier, 1)


def _sum(data: bytes) -> int:
    """The Internet's checksum."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(name: str, cgroup: str) -> None:
    Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
    pod = Pod(name)
    say({"ok": None})
    for line in sys.stdin:
        request = json.loads(line)
        command: Callable[..., Any] = getattr(pod, request.pop("do"))
        try:
            answer = {"ok": command(**request)}
        except OSError as error:
            answer = {"error": type(error).__name__, "errno": error.errno}
        say(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
