"""A setting of the process stays on until the last thread that needs it has left."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from quickstudy.engine.shared import Shared


def fused() -> bool:
    return torch.backends.cuda.flash_sdp_enabled()


def test_leaving_early_neither_switches_a_setting_off_under_others_nor_leaves_it_on() -> None:
    assert fused()
    setting = Shared(lambda: sdpa_kernel(SDPBackend.MATH))
    setting.__enter__()
    setting.__enter__()  # as another thread would
    setting.__exit__()
    assert not fused()
    setting.__exit__()
    assert fused()
