from aiokit.health import Health


def test_since_tells_when_the_level_changed_not_when_it_was_last_said() -> None:
    clock = iter([1.0, 2.0, 3.0])
    health = Health(now=lambda: next(clock))
    assert (health.status().level, health.status().since) == ("degraded", 1.0)
    health.ok("listening")
    health.ok("still listening")
    assert (health.status().text, health.status().since) == ("still listening", 2.0)
    health.degraded("stuck", OSError("no route"))
    assert (health.status().error, health.status().since) == ("no route", 3.0)
