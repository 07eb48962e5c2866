"""What may happen to a world. Each fault does its harm, says so, and returns what puts it right, and when.

A fault tells the world whom it disturbs: everybody else must not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mesh import keys
from mesh.keys import Kind
from tests.simulation.badvalues import bad_values
from tests.simulation.invariants import Pair
from tests.simulation.reader import Reader
from tests.simulation.source import STABLE, VOLATILE, ClusterSource
from tests.simulation.world import World

STARTED = 15.0  # a reader that begins, and whose peer is well, needs no longer

Mend = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Later:
    """Put right `after` so many seconds, or when the history ends."""

    after: float
    mend: Mend


Fault = Callable[[World], Awaitable[Later | None]]


def _pair(world: World) -> Pair:
    return world.chance.choice(list(world.pairs.values()))


def _source(world: World) -> ClusterSource:
    return world.chance.choice(list(world.sources.values()))


def _span(world: World, longest: float) -> float:
    """Short ones are as likely as long ones."""
    return float(1.0 * longest ** world.chance.random())


# the network


async def cut_reader(world: World) -> Later:
    pair, how = _pair(world), world.chance.choice(("refused", "silent"))
    wire = world.readers[pair.reader].wires[pair.source.name]
    world.say(f"{pair.reader} is cut off from {pair.source.name}: {how}")
    wire.sever(how)
    world.disturbed([pair], begun="cut")
    if world.chance.random() < 0.5:  # something goes that the reader will not be told of
        pair.source.forget_ip(world.chance.randrange(STABLE, STABLE + VOLATILE))
        pair.source.say_service()

    async def mend() -> None:
        world.say(f"{pair.reader} reaches {pair.source.name} again")
        pair.ongoing.remove("cut")
        if "cut" not in pair.ongoing:
            wire.mend()
        world.disturbed([pair])

    return Later(_span(world, 500.0), mend)


async def reset_reader(world: World) -> None:
    pair = _pair(world)
    world.say(f"the streams of {pair.reader} to {pair.source.name} are reset")
    world.disturbed([pair])
    world.readers[pair.reader].wires[pair.source.name].reset()


async def flap(world: World) -> Later:
    """A proxy that accepts and hangs up, or that has no idea of stickiness."""
    pair = _pair(world)
    wire = world.readers[pair.reader].wires[pair.source.name]
    world.say(f"{pair.source.name} hangs up on {pair.reader} again and again")
    world.disturbed([pair], begun="flapping")
    wire.hang_up_after = world.chance.uniform(0.05, 2.0)
    wire.replicas = world.chance.random() < 0.5

    async def mend() -> None:
        wire.hang_up_after = 0.0
        world.disturbed([pair], ended="flapping")

    return Later(_span(world, 300.0), mend)


async def slow_reader(world: World) -> Later:
    pair = _pair(world)
    world.say(f"{pair.reader} is slow in reading from {pair.source.name}")
    wire = world.readers[pair.reader].wires[pair.source.name]
    world.disturbed([pair], begun="slow")
    wire.delay = world.chance.uniform(0.2, 4.0)

    async def mend() -> None:
        wire.delay = 0.002
        world.disturbed([pair], ended="slow")

    return Later(_span(world, 200.0), mend)


async def cut_writer(world: World) -> Later:
    source, how = _source(world), world.chance.choice(("refused", "silent"))
    world.say(f"the writer of {source.name} is cut off from its etcd: {how}")
    pairs, wire = world.select(cluster=source.name), world.writers[source.name].wire
    wire.sever(how)
    world.disturbed(pairs, begun="writer cut")

    async def mend() -> None:
        world.say(f"the writer of {source.name} reaches its etcd again")
        world.disturbed(pairs, ended="writer cut")
        if "writer cut" not in pairs[0].ongoing:
            wire.mend()

    return Later(_span(world, 1000.0 if world.chance.random() < 0.2 else 200.0), mend)


async def lose_answers(world: World) -> Later:
    source = _source(world)
    world.say(f"answers to the writer of {source.name} are lost")
    pairs, wire = world.select(cluster=source.name), world.writers[source.name].wire
    wire.lose_answers = 0.5
    world.disturbed(pairs, begun="lossy")

    async def mend() -> None:
        wire.lose_answers = 0.0
        world.disturbed(pairs, ended="lossy")

    return Later(_span(world, 100.0), mend)


# stores


async def compact(world: World) -> Later:
    """History goes while readers lag behind: their streams cannot go on."""
    source = _source(world)
    world.say(f"the etcd of {source.name} is compacted while its readers lag behind")
    pairs = world.select(cluster=source.name)
    wires = [world.readers[pair.reader].wires[source.name] for pair in pairs]
    world.disturbed(pairs, begun="lagging")
    for wire in wires:
        wire.delay = 3.0
    for index in range(STABLE):
        source.say_ip(index, *source.ips[index])
        await asyncio.sleep(0.5)
    world.stores[source.name].compact()

    async def mend() -> None:
        for wire in wires:
            wire.delay = 0.002
        world.disturbed(pairs, ended="lagging")

    return Later(_span(world, 60.0), mend)


async def replace(world: World) -> None:
    """The pod restarts: an empty etcd, and (mostly) a writer that begins anew."""
    source = _source(world)
    world.say(f"an empty etcd takes the place of that of {source.name}")
    pairs = world.select(cluster=source.name)
    world.disturbed(pairs)
    writer = world.writers[source.name]
    restarts = world.chance.random() < 0.6 and writer.is_running
    if restarts:
        await writer.stop()
    world.stores[source.name].replace()
    for pair in pairs:
        world.readers[pair.reader].wires[source.name].reset()
    if restarts:
        writer.start(world.group)


async def expire(world: World) -> None:
    source = _source(world)
    leases = world.stores[source.name].leases()
    if leases:
        world.say(f"a lease of {source.name} ends before its time")
        world.stores[source.name].expire(world.chance.choice(leases))


async def meddle(world: World) -> None:
    """Somebody else writes or deletes keys that are the writer's."""
    source = _source(world)
    config, client = keys.cluster_config(source.name), world.stores[source.name].client()
    what = world.chance.choice(("config deleted", "config garbled", "canary deleted"))
    world.say(f"{source.name}: {what} by somebody else")
    world.disturbed(world.select(cluster=source.name))
    if what == "config garbled":
        await client.put(config, world.chance.choice((b"{", b'{"id":"x"}', b"")))
    elif what == "config deleted":
        await client.delete(config)
    else:
        await client.delete(keys.synced_key(world.chance.choice(list(Kind)[:4]), source.name))


# writers


async def restart_writer(world: World) -> Later | None:
    source = _source(world)
    writer = world.writers[source.name]
    if not writer.is_running:
        return None
    world.say(f"the writer of {source.name} dies")
    pairs = world.select(cluster=source.name)
    world.disturbed(pairs, begun="writer down")
    await writer.stop()

    async def mend() -> None:
        world.say(f"the writer of {source.name} lives again")
        writer.start(world.group)
        world.disturbed(pairs, ended="writer down")

    return Later(_span(world, 1200.0 if world.chance.random() < 0.1 else 150.0), mend)


async def vanish(world: World) -> Later | None:
    """The writer dies and, before it is back, its configuration is deleted: what readers have must freeze."""
    source = _source(world)
    later = await restart_writer(world) if world.writers[source.name].is_running else None
    for name, writer in world.writers.items():
        if not writer.is_running:
            world.say(f"{name}: config deleted by somebody else, and no writer to mend it")
            world.disturbed(world.select(cluster=name))
            await world.stores[name].client().delete(keys.cluster_config(name))
    return later


async def change_id(world: World) -> None:
    """To a number of its own, or (seldom) to another cluster's."""
    source = _source(world)
    others = [other.id for other in world.sources.values() if other is not source]
    taken = world.chance.random() < 0.4
    new = world.chance.choice(others) if taken else world.chance.choice((source.number, source.number + 10))
    writer = world.writers[source.name]
    if new == source.id or not writer.is_running:
        return
    world.say(f"{source.name} changes its cluster id from {source.id} to {new}")
    affected = {new, source.id}
    # whoever shares an id, before or after, may lose to the other
    names = {s.name for s in world.sources.values() if s is source or s.id in affected}
    for name in names:
        world.disturbed(world.select(cluster=name), excused=True)
    await writer.stop()
    source.change_id(new)
    writer.start(world.group)


# readers


async def unconfigure(world: World) -> Later | None:
    pair = _pair(world)
    if not pair.configured:
        return None
    world.say(f"{pair.reader}: the configuration of {pair.source.name} is removed")
    reader = world.readers[pair.reader]
    pair.configured = False
    shared = [p for p in world.select(pair.reader) if p.source.id == pair.source.id]
    world.disturbed(shared, excused=True)
    reader.unconfigure(pair.source.name)

    async def mend() -> None:
        world.say(f"{pair.reader}: the configuration of {pair.source.name} is back")
        pair.configured = True
        world.disturbed(shared, excused=True)
        reader.configure(pair.source.name, f"{world.chance.random()}")

    return Later(_span(world, 120.0), mend)


async def touch_config(world: World) -> None:
    pair = _pair(world)
    if pair.configured:
        world.say(f"{pair.reader}: the configuration of {pair.source.name} changes")
        world.disturbed([pair])
        world.readers[pair.reader].configure(pair.source.name, f"{world.chance.random()}")


async def restart_beside_silence(world: World) -> Later | None:
    """A reader begins while one of its peers does not answer at all: the others must not wait for that."""
    pair = _pair(world)
    reader = world.readers[pair.reader]
    if not reader.is_running or "cut" in pair.ongoing:
        return None
    reader.wires[pair.source.name].sever("silent")
    world.disturbed([pair], begun="cut")
    restarted = await _restart(world, reader)

    async def mend() -> None:
        world.say(f"{pair.reader} reaches {pair.source.name} again")
        pair.ongoing.remove("cut")
        if "cut" not in pair.ongoing:
            reader.wires[pair.source.name].mend()
        world.disturbed([pair])

    await restarted.mend()
    return Later(_span(world, 300.0), mend)


async def restart_reader(world: World) -> Later | None:
    reader = world.chance.choice(list(world.readers.values()))
    return await _restart(world, reader) if reader.is_running else None


async def _restart(world: World, reader: Reader) -> Later:
    world.say(f"{reader.name} dies; its kernel stays")
    pairs = world.select(reader.name)
    well = [pair for pair in pairs if pair.settled]
    ids = [pair.source.id for pair in pairs]
    world.disturbed(pairs, begun="reader down")
    died = pairs[0].disturbed_at
    await reader.stop()

    async def mend() -> None:
        world.say(f"{reader.name} lives again")
        for pair in pairs:  # it remembers entries, but not who was first, nor what bad values replaced
            if ids.count(pair.source.id) > 1 or pair.source.ever_bad:
                pair.excused = True
        reader.start(world.group, world.chance.uniform(0.0, 5.0))
        calm = [p for p in well if p.ongoing == ["reader down"] and p.disturbed_at == died]
        world.disturbed(pairs, ended="reader down")
        for pair in calm:  # whatever is wrong with the others
            pair.due = pair.disturbed_at + STARTED

    return Later(_span(world, 100.0), mend)


# what a cluster says


async def update(world: World) -> None:
    """An honest change; the commonest event of all."""
    source, chance = _source(world), world.chance
    index = chance.randrange(STABLE + VOLATILE)
    if chance.random() < 0.3 and index >= STABLE:
        world.say(f"{source.name} withdraws {source.ip(index)}")
        source.forget_ip(index)
    else:
        label = chance.randrange(4)
        world.say(f"{source.name} says {source.ip(index)} anew")
        source.say_identity(label)
        source.say_ip(index, label, chance.randrange(2))
    if chance.random() < 0.5:
        source.say_service()


async def say_badly(world: World) -> Later | None:
    source, chance = _source(world), world.chance
    kind, key, value = chance.choice(bad_values(source))
    world.say(f"{source.name} says something bad: {kind.name} {key!r}: {value[:60]!r}")
    for pair in world.select(cluster=source.name):
        pair.excused = pair.excused or not pair.settled  # it may never have heard the good value
    source.say_badly(kind, key, value)

    async def mend() -> None:
        source.mend()

    return Later(_span(world, 200.0), mend)


async def claim_ours(world: World) -> None:
    """A well-formed claim to addresses of our own cluster: it must lose."""
    source = _source(world)
    address = world.chance.choice(("10.1.1.5", "10.1.2.6", "198.18.1.11", "198.18.1.12"))
    world.say(f"{source.name} claims our {address}")
    source.claim(address)


FAULTS: list[tuple[int, Fault]] = [
    (30, update),
    (8, cut_reader),
    (6, reset_reader),
    (3, flap),
    (4, slow_reader),
    (6, cut_writer),
    (4, lose_answers),
    (5, compact),
    (6, replace),
    (4, expire),
    (6, meddle),
    (6, restart_writer),
    (2, vanish),
    (3, change_id),
    (4, unconfigure),
    (3, touch_config),
    (6, restart_reader),
    (3, restart_beside_silence),
    (6, say_badly),
    (3, claim_ours),
]
