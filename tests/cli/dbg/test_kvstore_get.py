"""`clustermesh-dbg kvstore get` against a real etcd."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from click.testing import CliRunner, Result

from cli.dbg.__main__ import main
from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from tests.conftest import RunningEtcd

KEYS = {b"cilium/a/1": b'{"x":1}', b"cilium/a/2": b"\xff", b"cilium/b": b"text"}


async def test_keys_are_shown_alone_or_below_a_prefix(etcd: RunningEtcd, tmp_path: Path) -> None:
    config = tmp_path / "etcd.config"
    config.write_text(f"endpoints: [http://{etcd.endpoint}]\n")
    async with connect(EtcdConfig((f"http://{etcd.endpoint}",))) as store:
        for key, value in KEYS.items():
            await store.put(key, value)

    async def get(*words: str) -> Result:
        options = ["kvstore", "get", "--kvstore-opt", f"etcd.config={config}", *words]
        return await asyncio.to_thread(CliRunner().invoke, main, options)

    result = await get("cilium/b")
    assert (result.exit_code, result.stdout) == (0, "cilium/b => text\n")
    result = await get("cilium/a/", "--recursive")
    assert result.stdout == 'cilium/a/1 => {"x":1}\ncilium/a/2 => \\xff\n'
    result = await get("cilium/a/", "--recursive", "-o", "json")
    assert [(e["key"], e.get("value"), e.get("value_b64")) for e in msgspec.json.decode(result.stdout)] == [
        ("cilium/a/1", '{"x":1}', None),
        ("cilium/a/2", None, "/w=="),
    ]
    assert ((await get("cilium/none")).exit_code, (await get("cilium/none")).stdout) == (1, "")
    result = await get("cilium/b", "--kvstore-opt", "etcd.operator=x")
    assert result.exit_code == 2
    result = await get("cilium/b", "--kvstore-opt", f"etcd.config={tmp_path}/none")
    assert (result.exit_code, "troubleshoot" in result.stderr) == (1, True)
