"""A matcher that remembers gives what one without memory gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.matching import Matcher, ServicePort, Source
from mesh.service import Port

PORTS = st.dictionaries(
    st.sampled_from(["http", ""]), st.builds(Port, st.sampled_from(["TCP", "UDP"]), st.integers(1, 2))
)
ADDRESSES = st.sampled_from(["10.2.0.1", "10.2.0.2", "fd00::1", "FD00:0::1", "::ffff:10.2.0.1"])
SOURCES = st.builds(
    Source, st.sampled_from(["a", "b"]), st.sampled_from([2, 3]), st.dictionaries(ADDRESSES, PORTS)
)
WANTED = st.builds(ServicePort, st.sampled_from(["http", ""]), st.sampled_from(["TCP", "UDP"]), st.just(80))


@given(st.lists(st.tuples(SOURCES, WANTED, st.sampled_from([4, 6])), max_size=8))
def test_memory_changes_nothing(asked: list[tuple[Source, ServicePort, int]]) -> None:
    matcher = Matcher()
    for source, port, version in asked:
        found = matcher.match(source, port, version)
        fresh = Matcher().match(source, port, version)
        assert found.keys() == fresh.keys()
        if "::ffff:10.2.0.1" not in source.endpoints:  # else one address was told twice: either counts
            assert found == fresh


def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    matcher, port = Matcher(), ServicePort("http", "TCP", 80)
    source = Source("a", 2, {"10.2.0.1": {"http": Port("TCP", 1)}})
    first = matcher.match(source, port, 4)
    matcher.forget_unused()
    assert matcher.match(source, port, 4) is first
    matcher.forget_unused()
    matcher.forget_unused()
    assert matcher.match(source, port, 4) is not first


def test_an_address_in_another_form_goes_too() -> None:
    matcher, port, http = Matcher(), ServicePort("http", "TCP", 80), {"http": Port("TCP", 1)}
    assert matcher.match(Source("a", 2, {"::ffff:10.2.0.1": http}), port, 4).keys() == {"10.2.0.1"}
    assert matcher.match(Source("a", 2, {"10.2.0.2": http}), port, 4).keys() == {"10.2.0.2"}


def test_an_address_told_in_two_forms_stays_while_one_of_them_has_the_port() -> None:
    matcher, port = Matcher(), ServicePort("http", "TCP", 80)
    http, mapped = {"http": Port("TCP", 1)}, "::ffff:10.2.0.1"
    assert matcher.match(Source("a", 2, {"10.2.0.1": http, mapped: http}), port, 4).keys() == {"10.2.0.1"}
    assert matcher.match(Source("a", 2, {"10.2.0.1": {}, mapped: http}), port, 4).keys() == {"10.2.0.1"}
    assert matcher.match(Source("a", 2, {mapped: http}), port, 4).keys() == {"10.2.0.1"}
    assert not matcher.match(Source("a", 2, {mapped: {}}), port, 4)


def test_a_source_that_changed_its_cluster_is_matched_anew() -> None:
    matcher, port = Matcher(), ServicePort("http", "TCP", 80)
    endpoints = {"10.2.0.1": {"http": Port("TCP", 1)}}
    matcher.match(Source("a", 2, endpoints), port, 4)
    (found,) = matcher.match(Source("a", 3, endpoints), port, 4).values()
    assert found.cluster_id == 3
