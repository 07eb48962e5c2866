"""Commands in pods, through the lab's API server."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.errors import APIError, NotFoundError
from k8s.resource import NAMESPACE, POD
from kvstore.memory import MemoryBackend
from tests.k8s.apiserver import lab_api

SPEC: dict[str, Any] = {"containers": [{"name": "main", "image": "x"}]}


async def test_a_command_in_a_pod_gives_its_output_and_its_status() -> None:
    async with lab_api(MemoryBackend()) as api:
        await api.client.create(NAMESPACE, {"metadata": {"name": "shop"}})
        await api.client.create(POD, {"metadata": {"name": "web", "namespace": "shop"}, "spec": SPEC})
        assert await api.client.execute("web", "shop", ["echo", "a b", "c"]) == (0, b"a b c\n", b"")
        assert await api.client.execute("web", "shop", ["complain"], "main") == (3, b"", b"no good\n")
        assert api.runtime.calls[-1][0].container == "main"
        large = "x" * 100_000
        assert (await api.client.execute("web", "shop", ["echo", *[large[:1000]] * 5])).code == 0
        with pytest.raises(APIError, match="not running"):
            await api.client.execute("web", "shop", ["nothing"])
        with pytest.raises(NotFoundError):
            await api.client.execute("nobody", "shop", ["echo"])
