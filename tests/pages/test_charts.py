"""Charts show what they are given."""

from __future__ import annotations

import pytest

from quickstudy.pages.charts import Trace, line_chart

pytest.importorskip("matplotlib")


def drawn(trace: Trace) -> str:
    return line_chart([trace], "step", "accuracy", top=101)


@pytest.mark.parametrize("ci", [None, [2.0]])
def test_a_line_of_one_point_is_seen(ci: list[float] | None) -> None:
    one, nothing = drawn(Trace("validation", [10.0], [60.0], ci)), drawn(Trace("validation", [], [], ci and []))
    assert one.count("<use") > nothing.count("<use")


def test_a_line_of_several_points_has_no_marks() -> None:
    line, nothing = drawn(Trace("validation", [10.0, 11.0, 12.0], [60.0] * 3)), drawn(Trace("validation", [], []))
    assert line.count("<path") > nothing.count("<path") and "stroke-width: 1.8" in line
    assert "stroke-width: 1.6" not in line
