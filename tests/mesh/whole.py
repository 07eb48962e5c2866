"""A service with its own endpoints in one value, merged without a memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mesh.localservice import Frontend, LocalBackend, LocalService, local_sources
from mesh.matching import Backend, Matcher
from mesh.merge import merge
from mesh.service import GlobalService


@dataclass(frozen=True)
class WholeService(LocalService):
    backends: tuple[LocalBackend, ...] = ()


def backends_for(
    local: WholeService,
    remotes: Iterable[GlobalService],
    *,
    own: str = "",
    node: str = "",
    zone: str = "",
    withdrawn: Collection[str] = frozenset(),
) -> Mapping[Frontend, tuple[Backend, ...]]:
    near = local_sources(local, local.backends, node=node)
    return merge(local, near, remotes, Matcher(), own=own, zone=zone, withdrawn=withdrawn)
