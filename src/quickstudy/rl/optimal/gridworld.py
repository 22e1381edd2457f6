"""The Bayes-optimal value of finding a hidden goal on a grid, by what can still be believed."""

from __future__ import annotations

from functools import lru_cache

Walks = dict[tuple[int, int], float]
"""The most that walks have gained by (visited cells as bits, the cell where they are)."""


def belief_optimal(size: int = 5, horizon: int = 15, episodes: int = 4, penalty: float = -0.1) -> float:
    """The expected return of a trial, all episodes together, of the best agent in `GridWorld`, whose goal lies in any
    cell but that of the start with equal chance.

    Until the goal is found nothing is learned but where it is not, so the best search is a walk that is fixed from the
    beginning; from then on the shortest way is the best. So all walks are followed step by step, those that have
    visited the same cells and are at the same one being one; later episodes begin with the cells that are left. What
    they can add at most is bounded by a search that is at any new cell as soon as its distance allows. Of seconds for 5
    by 5 cells.
    """
    cells = size * size
    distance = [cell // size + cell % size for cell in range(cells)]
    near = [_near(cell, size) for cell in range(cells)]
    lost = penalty * horizon

    def found(step: int) -> float:
        """The return of an episode in which the goal is reached at this step and not left."""
        return penalty * (step - 1) + (horizon - step + 1)

    known = [found(d) if 0 < d <= horizon else lost for d in distance]

    def walks(visited: int, later: int) -> Walks:
        """All that one episode can make of the cells visited before; a new cell gains what its goal brings from now on
        above `lost` in this episode, `later` episodes following."""
        level: Walks = {(visited, 0): 0.0}
        for step in range(1, horizon + 1):
            after: Walks = {}
            for (mask, cell), gain in level.items():
                for to in near[cell]:
                    bit = 1 << to
                    new = gain if mask & bit else gain + found(step) - lost + later * known[to]
                    if after.get((mask | bit, to), -1e9) < new:
                        after[mask | bit, to] = new
            level = after
        return level

    @lru_cache(None)
    def best(visited: int, left: int) -> float:
        """The sum over all goals in cells not yet visited of what `left` episodes bring."""
        hidden = [c for c in range(cells) if not visited >> c & 1]
        if not left or not hidden:
            return 0.0
        ends: dict[int, float] = {}
        for (mask, _), gain in walks(visited, left - 1).items():
            ends[mask] = max(gain, ends.get(mask, gain))
        promising = sorted(((gain + bound(mask, left - 1), mask) for mask, gain in ends.items()), reverse=True)
        most = -1e9
        for at_most, mask in promising:
            if at_most <= most:
                break
            most = max(most, ends[mask] + best(mask, left - 1))
        return lost * len(hidden) + most

    @lru_cache(None)
    def bound(visited: int, left: int) -> float:
        """No less than `best`."""
        hidden = sorted(distance[c] for c in range(cells) if not visited >> c & 1)
        total, step = 0.0, 0
        for d in hidden if left else ():
            step = max(step + 1, d)
            now = found(step) if step <= horizon else lost
            total += now + (left - 1) * max(found(d) if d <= horizon else lost, lost)
        return total

    return best(1, episodes) / (cells - 1)


def _near(cell: int, size: int) -> list[int]:
    """Where a step can lead: to a neighbour, or nowhere."""
    row, column = divmod(cell, size)
    steps = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    places = ((row + r, column + c) for r, c in steps)
    return [r * size + c for r, c in places if 0 <= r < size and 0 <= c < size]
