"""How sure a learner is, against how often it is right."""

from __future__ import annotations

import torch

from quickstudy.evaluation.calibration import LEVELS, calibration


def test_a_distribution_that_is_right_is_calibrated_and_one_that_is_too_sure_is_not() -> None:
    mean, spread = torch.randn(20000), torch.rand(20000) + 0.5
    y = mean + spread * torch.randn(20000)
    for level, hit in zip(LEVELS, calibration(mean, spread, y), strict=True):
        assert abs(hit - level) < 0.015
    sure = calibration(mean, spread / 2, y)
    wanted = [float(2 * torch.special.ndtr(torch.special.ndtri(torch.tensor(0.5 + v / 2)) / 2) - 1) for v in LEVELS]
    assert max(abs(a - b) for a, b in zip(sure, wanted, strict=True)) < 0.015
