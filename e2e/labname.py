"""Names of labs that tests make: two checkouts on one machine must not take each other's down."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).parent.parent


def of_checkout(beginning: str) -> str:
    """The same in every run, so that a lab that was left behind is found and removed."""
    return beginning + blake2b(str(ROOT).encode(), digest_size=3).hexdigest()
