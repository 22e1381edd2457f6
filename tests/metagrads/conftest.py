from __future__ import annotations

import pytest
from quadratics import Problem, line_problem


@pytest.fixture
def problem() -> Problem:
    return line_problem()
