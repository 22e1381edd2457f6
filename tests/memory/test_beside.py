"""Memories are started from only where they are no worse than φ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_memory import WAYS, episode, learner, phi, source

from quickstudy.entries import PARAMETER, prefixed
from quickstudy.episode import Examples
from quickstudy.memory import Bank, Memory
from quickstudy.memory.beside import Beside, beside, folds
from quickstudy.memory.codec import encode


def filled(tmp_path: Path, dead: bool) -> Memory:
    """A memory of three tasks; dead: of networks in which all but one unit see nothing."""
    made = learner()
    memory = Memory(Bank(tmp_path / "bank"), made, phi(made))
    memory.build(source(), 3, first=10)
    if dead:
        entries = memory.bank.entries()
        origin = prefixed(PARAMETER, memory.params)
        for entry in entries:
            solved = memory.bank.load(entry.id)
            for value in solved.values():
                if value.dim() > 1:
                    value[1:] = 0
            memory.bank.add([(replace(entry, id=entry.id[::-1]), encode(solved, origin, "float32"), None)])
        memory.bank.remove([entry.id for entry in entries])
    return memory


def test_a_start_that_is_worse_than_phi_is_not_used(tmp_path: Path) -> None:
    memory, e = filled(tmp_path, dead=True), episode(5)
    checked, plain = memory.adapt(e.support), memory.adapt(e.support, start="phi")
    assert checked.beside is not None and checked.beside.worse and not checked.recalled
    assert checked.beside.memory > checked.beside.phi and checked.beside.count == WAYS * 5
    assert "memories are a worse start" in str(checked)
    for name, value in plain.state.items():
        assert torch.equal(value, checked.state[name]), name
    blindly = memory.adapt(e.support, even_if_worse=True)
    assert blindly.recalled and blindly.beside is None


def test_a_start_that_is_better_is_used_and_said(tmp_path: Path) -> None:
    memory = filled(tmp_path, dead=False)
    for index in range(5, 12):
        solved, blind = (memory.adapt(episode(index).support, even_if_worse=way) for way in (False, True))
        found = solved.beside
        assert found is not None and found.count == WAYS * 5 and bool(solved.recalled) == (not found.worse)
        if not found.worse:
            assert "left-out examples" in str(solved)
            assert all(torch.equal(value, blind.state[name]) for name, value in solved.state.items())


def test_a_start_is_not_worse_than_one_that_diverged() -> None:
    nan = float("nan")
    assert not Beside(0.5, nan, 3).worse and not Beside(0.5, float("inf"), 3).worse
    assert Beside(nan, 0.5, 3).worse and Beside(0.6, 0.5, 3).worse


def test_left_out_is_really_left_out() -> None:
    """By masks as by taking the examples away."""
    made = learner()
    params, support = phi(made), episode(3).support
    fold = folds(support, made)
    assert sorted(fold.tolist()) == sorted(list(range(5)) * WAYS)
    total = torch.zeros(())
    for one in range(5):
        rest, asked = (Examples(*(part[keep] for part in support)) for keep in (fold != one, fold == one))
        assert asked.y.unique().tolist() == list(range(WAYS))
        said = made.predict(params, made.adapt(params, rest), asked.x)
        total += made.spec.target.losses(said, asked.y).sum()
    found = beside(made, params, params, support)
    assert found.phi == pytest.approx(float(total) / (WAYS * 5), rel=1e-4) and found.memory == found.phi


def test_one_example_of_a_class_cannot_be_left_out(tmp_path: Path) -> None:
    memory, support = filled(tmp_path, dead=True), episode(3).support
    one = support._replace(mask=torch.arange(len(support.y)) % 5 == 0)
    assert len(one.y[one.mask].unique()) == WAYS
    solved = memory.adapt(one)
    assert solved.beside == Beside(0.0, 0.0, 0) and solved.recalled and "not checked" in str(solved)
