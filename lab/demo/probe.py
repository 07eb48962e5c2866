"""Writes short-lived IP entries into a cluster's etcd and says when: half of a propagation figure.

Runs inside the control-plane namespace of the writing cluster, because its etcd listens on loopback there.
Prints one line `<ip> <monotonic nanoseconds>` per entry, taken just before the put, and removes the
entries when its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
import time

import click

from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from mesh.addressing import ClusterName, Identity
from mesh.ipcache import IPEntry, encode
from mesh.keys import Kind, state_prefix

_PAUSE_SECONDS = 0.01  # about 100 changes a second, well below what saturates two cores


@click.command()
@click.option("--endpoint", required=True)
@click.option("--cluster", required=True)
@click.option("--identity", type=int, required=True)
@click.option("--host-ip", required=True, help="Tunnel endpoint that the entries name.")
@click.argument("ips", nargs=-1, required=True)
def main(endpoint: str, cluster: str, identity: int, host_ip: str, ips: tuple[str, ...]) -> None:
    """Put one entry per IP, then remove them all when standard input ends."""
    entries = [IPEntry(ip=ip, mask=None, identity=Identity(identity), host_ip=host_ip) for ip in ips]
    asyncio.run(_probe(endpoint, state_prefix(Kind.IPS, ClusterName(cluster)), entries))


async def _probe(endpoint: str, prefix: bytes, entries: list[IPEntry]) -> None:
    async with connect(EtcdConfig(endpoints=(endpoint,))) as etcd:
        pairs = [encode(entry) for entry in entries]
        keys = [prefix + suffix.encode() for suffix, _ in pairs]
        try:
            for key, (suffix, value) in zip(keys, pairs, strict=True):
                sent = time.monotonic_ns()
                await etcd.put(key, value)
                sys.stdout.write(f"{suffix} {sent}\n")
                sys.stdout.flush()
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.to_thread(sys.stdin.read)
        finally:
            for key in keys:
                await etcd.delete(key)


if __name__ == "__main__":
    main()
