"""Answers to create requests leave in the order of the requests."""

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.order import CreateOrder


@given(st.lists(st.booleans(), max_size=12), st.data())
def test_refusals_and_etcds_answers_keep_the_order_of_the_requests(
    allowed: list[bool], data: st.DataObject
) -> None:
    order, sent, at_etcd = CreateOrder(), list[bytes](), list[bytes]()

    def etcd_answers() -> None:
        sent.append(at_etcd.pop(0))
        sent.extend(order.created())

    for number, is_allowed in enumerate(allowed):
        while at_etcd and data.draw(st.booleans()):
            etcd_answers()
        if is_allowed:
            at_etcd.append(b"%d" % number)
            order.forwarded()
        else:
            sent.extend(order.refused(b"%d" % number))
    while at_etcd:
        etcd_answers()
    assert sent == [b"%d" % number for number in range(len(allowed))]
    assert len(order) == 0
