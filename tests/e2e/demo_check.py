# SPDX-License-Identifier: Apache-2.0
"""The demo's check can say no: evidence that is missing, too much, or on the wrong span, and a link
that loses nothing."""
import contextlib
import io
import sys
import unittest
import unittest.mock

from harness.check import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "deploy" / "demo"))

import check  # noqa: E402
import demo  # noqa: E402
from sink import SeenSpan  # noqa: E402


def span(service, kind, segments, trace="1"):
    attributes = {"undertrace.tcp.retransmits": segments} if segments else {}
    return SeenSpan(trace, service, kind, "POST", attributes)


def trace(client=0, server=0, root=0, name="1"):
    return [span("order", "SERVER", root, name), span("payment", "CLIENT", client, name),
            span("ledger", "SERVER", server, name)]


class Check(unittest.TestCase):
    def faults(self, orders, spans, blind=False):
        return list(check.faults(check.compare(orders, spans), blind))

    def test_evidence_on_both_ends_of_the_lossy_link_is_right(self):
        result = check.compare([check.Order("1", 0.22, 2)], trace(2, 2))
        self.assertEqual(list(check.faults(result)), [])
        self.assertEqual((result.joined, result.slow, result.slow_carrying), (2, 1, 1))

    def test_a_retransmission_on_no_span_is_not_joined(self):
        result = check.compare([check.Order("1", 0.22, 1)], trace())
        self.assertEqual(list(check.faults(result)), ["1 segments sent again are on no span"])
        self.assertEqual((result.joined, result.wrong), (0, 0))

    def test_evidence_on_a_healthy_order_is_wrong(self):
        result = check.compare([check.Order("1", 0.01, 0)], trace(1, 0))
        self.assertEqual(len(list(check.faults(result))), 1)
        self.assertEqual((result.wrong, result.healthy_carrying), (1, 1))

    def test_evidence_on_another_span_is_wrong(self):
        result = check.compare([check.Order("1", 0.22, 1)], trace(1, 1, root=1))
        self.assertEqual(result.wrong, 1)
        self.assertEqual(len(list(check.faults(result))), 1)

    def test_spans_that_never_came_are_not_right(self):
        for blind in (False, True):
            self.assertEqual(len(self.faults([check.Order("1", 0.01, 0)], [], blind)), 1)

    def test_who_cannot_watch_the_kernel_need_not_join_but_must_not_make_it_up(self):
        orders = [check.Order("1", 0.22, 1)]
        self.assertEqual(self.faults(orders, trace(), blind=True), [])
        self.assertEqual(len(self.faults(orders, trace(2, 0), blind=True)), 1)

    def test_orders_are_told_apart(self):
        orders = [check.Order("1", 0.22, 1), check.Order("2", 0.01, 0)]
        result = check.compare(orders, trace(0, 0) + trace(1, 1, name="2"))
        self.assertEqual((result.joined, result.wrong), (0, 2))


class Absences(unittest.TestCase):
    """What must be seen on the link that loses packets."""

    def absences(self, order, spans, dropped=1, blind=False):
        return list(check.absences(check.compare([order], spans), dropped, blind))

    def test_a_loss_that_shows_leaves_nothing_to_ask_for(self):
        self.assertEqual(self.absences(check.Order("1", 0.22, 1), trace(1, 1)), [])

    def test_a_rule_that_matches_nothing_shows_nothing(self):
        self.assertEqual(self.absences(check.Order("1", 0.01, 0), trace(), dropped=0),
                         ["the rules dropped no segment",
                          "by the kernel's counter nothing was sent again", "no order was slow"])

    def test_a_slow_order_has_to_carry_evidence_unless_the_kernel_cannot_be_watched(self):
        order = check.Order("1", 0.22, 1)
        self.assertEqual(len(self.absences(order, trace())), 1)
        self.assertEqual(self.absences(order, trace(), blind=True), [])

    def test_orders_that_only_the_machine_made_slow_need_none(self):
        orders = [check.Order("1", 0.22, 1), check.Order("2", 0.3, 0)]
        result = check.compare(orders, trace(1, 1) + trace(name="2"))
        self.assertEqual([*check.faults(result), *check.absences(result, 1)], [])


class FakeShop:
    """Takes orders over a link that loses what it is told to; its spans are in `spans`."""

    def __init__(self, drops=0, again=0, seconds=0.01, segments=0):
        self.drops, self.again, self.seconds, self.segments = drops, again, seconds, segments
        self.seen = []

    def order(self, number):
        name = f"{number}"
        self.seen += trace(self.segments, self.segments, name=name)
        return check.Order(name, self.seconds, self.again)

    def take_orders(self, count):
        return [self.order(number) for number in range(count)]

    def spans(self):
        return self.seen

    def dropped(self):
        return self.drops

    def lose_packets(self):
        pass

    def heal(self):
        pass


class Parts(unittest.TestCase):
    """The demo itself goes by the check."""

    def part(self, part, shop, blind=False):
        output = io.StringIO()
        with unittest.mock.patch("time.sleep"), contextlib.redirect_stdout(output):
            right = part(shop, shop, 3, blind)
        self.assertEqual("FAILED" in output.getvalue(), not right)
        return right

    def test_lost_segments_on_their_spans_pass(self):
        shop = FakeShop(drops=3, again=1, seconds=0.22, segments=1)
        self.assertTrue(self.part(demo.lossy_part, shop))

    def test_a_link_that_loses_nothing_fails(self):
        self.assertFalse(self.part(demo.lossy_part, FakeShop()))

    def test_losses_that_show_on_no_span_fail_unless_the_kernel_cannot_be_watched(self):
        shop = FakeShop(drops=3, again=1, seconds=0.22)
        self.assertFalse(self.part(demo.lossy_part, shop))
        self.assertTrue(self.part(demo.lossy_part, shop, blind=True))

    def test_a_link_that_is_said_to_be_healed_may_be_slow_but_loses_nothing(self):
        self.assertTrue(self.part(demo.healed_part, FakeShop(seconds=0.3)))
        shop = FakeShop(again=1, seconds=0.22, segments=1)
        self.assertFalse(self.part(demo.healed_part, shop))
        self.assertFalse(self.part(demo.healed_part, shop, blind=True))


if __name__ == "__main__":
    unittest.main()
