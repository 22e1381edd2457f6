"""Which plan a run's meta-gradients were computed by, from which step on: kept for resuming to the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from quickstudy.engine import Plan
from quickstudy.engine.distribute import Group
from quickstudy.storage.json import read_json, write_json

FILE = "plans.json"
_Entry = TypedDict("_Entry", {"from": int, "plan": Plan})
_REMEDY = (
    "Restore it from a copy; or delete it, and plans are chosen anew, by which figures may differ in the last digits."
)


class PlanLog:
    """The plans of the run in `folder`. Written before a plan is first used, by the leading process alone."""

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self._path, self._writes = folder / FILE, writes
        stored = read_json(self._path, list[_Entry], _REMEDY) if self._path.exists() else []
        self._plans = [(int(entry["from"]), Plan.from_json(entry["plan"])) for entry in stored]

    @property
    def decided(self) -> bool:
        """Whether an earlier process of this run has chosen."""
        return bool(self._plans)

    def at(self, step: int) -> Plan | None:
        """The plan in use at `step`; None if none was chosen by then."""
        return next((plan for start, plan in reversed(self._plans) if start <= step), None)

    def add(self, step: int, plan: Plan) -> None:
        """From `step` on, `plan` is used."""
        self._plans.append((step, plan))
        if self._writes:
            write_json(self._path, [{"from": start, "plan": plan.to_json()} for start, plan in self._plans])

    def follow(self, step: int, group: Group, where: str) -> None:
        """From `step` on, all processes use the plan that the leading one has for it."""
        mine = self.at(step)
        plan = group.broadcast(None if mine is None else mine.to_json(), where)
        if not group.leads:
            self.add(step, Plan.from_json(plan))
