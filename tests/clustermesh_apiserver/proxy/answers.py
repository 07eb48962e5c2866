"""etcd's answers, made up: histories of events in any grouping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.reply import Chunk
from kvstore import messages as m

CLUSTER = 77
Told = tuple[int, bytes]  # an event: its revision and key


def header(revision: int, cluster_id: int = CLUSTER) -> m.ResponseHeader:
    return m.ResponseHeader(cluster_id=cluster_id, member_id=1, revision=revision, raft_term=2)


def events(told: Iterable[Told], *, value: bytes = b"v", cluster_id: int = CLUSTER) -> bytes:
    """One answer with these events."""
    told = list(told)
    answer = m.WatchResponse(header=header(told[-1][0], cluster_id))
    for revision, key in told:
        answer.events.add(kv=m.KeyValue(key=key, value=value, mod_revision=revision))
    return answer.SerializeToString()


def chunk(told: Iterable[Told], *, value: bytes = b"v") -> Chunk:
    answer = reply.read(events(told, value=value)).answer
    assert isinstance(answer, Chunk)
    return answer


def told(raws: Iterable[bytes]) -> list[Told]:
    """The events in these answers, in order."""
    return [
        (event.kv.mod_revision, event.kv.key)
        for raw in raws
        for event in m.WatchResponse.FromString(raw).events
    ]


def flat(revisions: Iterable[list[Told]]) -> list[Told]:
    return list(chain.from_iterable(revisions))


def history(counts: Sequence[int], gaps: Sequence[int]) -> list[list[Told]]:
    """By revision: so many events each, after so many revisions in which something else happened."""
    revision, revisions = 0, []
    for count, gap in zip(counts, gaps, strict=True):
        revision += 1 + gap
        revisions.append([(revision, b"%d-%d" % (revision, number)) for number in range(count)])
    return revisions
