"""The time that commands issue certificates with, and what they say of this machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.running import say
from k8s import clock
from k8s.client import Client


async def now(client: Client, label: str) -> datetime:
    """What this machine and the API server of `label` agree on; says where they do not."""
    found = datetime.now(UTC)
    ahead = await client.ahead()
    if ahead is None:
        return found
    if text := clock.warning(ahead, label):
        say(f"warning: {text}")
    return clock.common(found, ahead)
