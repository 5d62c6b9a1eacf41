# SPDX-License-Identifier: Apache-2.0
"""The demo's check can say no: evidence that is missing, too much, or on the wrong span."""
import sys
import unittest

from harness.check import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "deploy" / "demo"))

import check  # noqa: E402
from sink import SeenSpan  # noqa: E402


def span(service, kind, segments, trace="1"):
    attributes = {"undertrace.tcp.retransmits": segments} if segments else {}
    return SeenSpan(trace, service, kind, "POST", attributes)


def trace(client=0, server=0, root=0, name="1"):
    return [span("order", "SERVER", root, name), span("payment", "CLIENT", client, name),
            span("ledger", "SERVER", server, name)]


class Check(unittest.TestCase):
    def test_evidence_on_both_ends_of_the_lossy_link_is_right(self):
        result = check.compare([check.Order("1", 0.22, 2)], trace(2, 2))
        self.assertTrue(result.right)
        self.assertEqual((result.joined, result.slow, result.slow_carrying), (2, 1, 1))

    def test_a_retransmission_on_no_span_is_not_joined(self):
        result = check.compare([check.Order("1", 0.22, 1)], trace())
        self.assertFalse(result.right)
        self.assertEqual((result.joined, result.wrong), (0, 0))

    def test_evidence_on_a_healthy_order_is_wrong(self):
        result = check.compare([check.Order("1", 0.01, 0)], trace(1, 0))
        self.assertFalse(result.right)
        self.assertEqual((result.wrong, result.healthy_carrying), (1, 1))

    def test_evidence_on_another_span_is_wrong(self):
        result = check.compare([check.Order("1", 0.22, 1)], trace(1, 1, root=1))
        self.assertEqual(result.wrong, 1)

    def test_spans_that_never_came_are_not_right(self):
        self.assertFalse(check.compare([check.Order("1", 0.01, 0)], []).right)

    def test_orders_are_told_apart(self):
        orders = [check.Order("1", 0.22, 1), check.Order("2", 0.01, 0)]
        result = check.compare(orders, trace(0, 0) + trace(1, 1, name="2"))
        self.assertEqual((result.joined, result.wrong), (0, 2))


if __name__ == "__main__":
    unittest.main()
