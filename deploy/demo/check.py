# SPDX-License-Identifier: Apache-2.0
"""The demo's check: what the kernel counted under each order against what its spans say.

The orders come one after the other, so the kernel's own counter (TcpRetransSegs in the namespaces
of payment and ledger), read before and after each, tells which order had a segment sent again. That
does not come from undertrace, so it can say where undertrace is wrong.
"""
import dataclasses
import statistics

SLOW_SECONDS = 0.15  # a retransmission costs at least the kernel's smallest timeout, 0.2 s

# The two spans of the one link that loses packets; evidence on any other span is wrong.
LOSSY = (("payment", "CLIENT"), ("ledger", "SERVER"))


@dataclasses.dataclass
class Order:
    """One order as its customer saw it."""
    trace_id: str
    seconds: float
    retransmitted: int  # by the kernel's counter, while the order ran

    @property
    def slow(self):
        return self.seconds >= SLOW_SECONDS


@dataclasses.dataclass
class Result:
    """The sums of one check, in segments where nothing else is said."""
    healthy: int = 0  # orders
    healthy_median: float = 0.0  # seconds
    healthy_carrying: int = 0  # orders
    slow: int = 0
    slow_median: float = 0.0
    slow_carrying: int = 0
    retransmitted: int = 0
    joined: int = 0
    wrong: int = 0
    exact: int = 0  # of those joined: by the ids that the bytes carried
    missing: int = 0  # orders whose two spans of the lossy link did not arrive


def median(values):
    return statistics.median(values) if values else 0.0


def compare(orders, spans):
    result = Result()
    by_trace = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    for order in orders:
        mine = by_trace.get(order.trace_id, [])
        lossy = [span for span in mine if (span.service, span.kind) in LOSSY]
        best = max((span.segments for span in lossy), default=0)
        result.missing += len(lossy) < len(LOSSY)
        result.retransmitted += order.retransmitted
        result.joined += min(best, order.retransmitted)
        result.exact += max((span.exact for span in lossy), default=0)
        result.wrong += sum(max(0, span.segments - order.retransmitted) for span in lossy)
        result.wrong += sum(span.segments for span in mine if span not in lossy)
        carries = any(span.segments for span in mine)
        if order.slow:
            result.slow += 1
            result.slow_carrying += carries
        else:
            result.healthy += 1
            result.healthy_carrying += carries
    result.healthy_median = median([order.seconds for order in orders if not order.slow])
    result.slow_median = median([order.seconds for order in orders if order.slow])
    return result


def report(result, dropped):
    """The lines that the demo ends with."""
    def milliseconds(seconds):
        return f"{seconds * 1000:.0f} ms"

    yield (f"  healthy  {result.healthy:3} orders, median {milliseconds(result.healthy_median)}; "
           f"{result.healthy_carrying} carry retransmissions")
    yield (f"  slow     {result.slow:3} orders, median {milliseconds(result.slow_median)}; "
           f"{result.slow_carrying} carry retransmissions")
    yield (f"  segments {dropped:3} dropped by the rule, {result.retransmitted} retransmitted by "
           f"the kernel's counter, {result.joined} joined ({result.exact} exact), "
           f"{result.wrong} wrong")


def faults(result, blind=False):
    """What is not right, a line each. `blind`: the kernel could not be watched, so that nothing can
    be joined."""
    if result.missing:
        yield f"of {result.missing} orders the spans of the lossy link did not arrive"
    if result.wrong:
        yield f"{result.wrong} segments are on spans that did not wait for them"
    if not blind and result.joined < result.retransmitted:
        yield f"{result.retransmitted - result.joined} segments sent again are on no span"


def absences(result, dropped, blind=False):
    """What a link that loses packets must show and does not, a line each. Orders may be slow for
    other reasons too, so that not each of them has to carry something."""
    if not dropped:
        yield "the rules dropped no segment"
    if not result.retransmitted:
        yield "by the kernel's counter nothing was sent again"
    if not result.slow:
        yield "no order was slow"
    elif not blind and not result.slow_carrying:
        yield "no slow order carries retransmissions"
