"""Which of several replicas that share one etcd writes: the lock `cilium/kvstoremesh-lock` (spec 2.2, 3.8).

Replicas that have an etcd each, the usual set-up, all lead at once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from kvstore.backend import Backend
from kvstore.mutex import lock_lease, locked

LOCK_PREFIX = b"cilium/kvstoremesh-lock/"

log = logging.getLogger(__name__)


@asynccontextmanager
async def leading(backend: Backend) -> AsyncGenerator[None]:
    """Wait until we lead; lead while the block runs. Raises KVStoreError, also out of the block."""
    async with lock_lease(backend) as lease, locked(backend, LOCK_PREFIX, lease):
        log.info("this replica writes the copies lease=%x", lease)
        yield
