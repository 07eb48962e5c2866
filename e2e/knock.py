"""Runs inside a pod: knocks at addresses many times and says who answered. Only the standard library.

Argument: a JSON list of `{"host", "port", "protocol": "TCP"|"UDP", "times", "seconds",
"source_port"}`. Output: a JSON
list, one object per address, of how often each `cluster/pod` answered; the empty name is for nobody.
Every knock is a new socket, so every knock is a choice of the service's.
"""

import json
import socket
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

Target = dict[str, object]
AT_ONCE = 32


def once(family: int, where: tuple[str, int], protocol: str, seconds: float, source_port: int) -> str:
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(seconds)
        try:
            if source_port:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.bind(("", source_port))
            client.connect(where)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            said = b""
            while piece := client.recv(4096):
                said += piece
                if kind == socket.SOCK_DGRAM:
                    break
            answer = json.loads(said.rpartition(b"\r\n")[2])
            return f"{answer['cluster']}/{answer['pod']}"
        except (OSError, ValueError, KeyError):
            return ""


def knock(target: Target) -> Counter[str]:
    where = (str(target["host"]), int(str(target["port"])))
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    protocol, seconds = str(target["protocol"]), float(str(target["seconds"]))
    source_port = int(str(target["source_port"]))
    return Counter(
        once(family, where, protocol, seconds, source_port) for _ in range(int(str(target["times"])))
    )


if __name__ == "__main__":
    with ThreadPoolExecutor(AT_ONCE) as pool:
        json.dump(list(pool.map(knock, json.loads(sys.argv[1]))), sys.stdout)
