"""How often each client may ask."""

from __future__ import annotations

from collections import OrderedDict

from quickstudy.serve.refusal import Refused

_CLIENTS = 10_000  # whose rates are remembered


class Rates:
    """How often each client may ask: so many times a second, and twice as many at once after a rest."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> None:
        """429 for a client that has asked too often."""
        if not self._rate:
            return
        most = max(1.0, 2 * self._rate)
        left, then = self._left.pop(client, (most, now))
        left = min(most, left + (now - then) * self._rate)
        self._left[client] = (max(0.0, left - 1), now)
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        if left < 1:
            after = max(1, round((1 - left) / self._rate))
            raise Refused(429, "rate", f"More than {self._rate:g} requests a second. Try again in {after} s.", after)
