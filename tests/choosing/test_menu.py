"""What is offered for tasks of a kind, and the runs that points of the space stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from choosing_runs import blob_run, numbers_run

from quickstudy.choosing import menu
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.training.build import build


def test_every_offer_can_be_built_and_learns() -> None:
    config, source = blob_run()
    offered = menu(config, source)
    assert {"protonet", "r2d2", "maml", "simpleshot"} <= set(offered.learners)
    assert "axial" in offered.left_out
    assert "cells" in offered.left_out["axial"]
    rng = np.random.default_rng(0)
    for point in offered.space.draw(12, rng):
        made = offered.config(point)
        assert made.learner == offered.learners[point["learner"]]
        assert made.model == offered.networks[point["network"]]
        assert made.lr == point["lr"]
        build(made, None, source).check()


def test_without_values_it_is_the_recipe() -> None:
    config, source = blob_run()
    assert menu(config, source).config({}) is config


def test_what_cannot_learn_numbers_is_left_out_with_its_reason() -> None:
    offered = menu(*numbers_run())
    assert "protonet" not in offered.learners
    assert "needs classes" in offered.left_out["protonet"]
    assert {"r2d2", "maml"} <= set(offered.learners)
    assert "ways" not in offered.space.axes
    config, source = numbers_run()
    assert "ways" not in menu(replace(config, ways=5), source).space.axes


def test_more_ways_are_for_learners_that_take_them_and_for_no_more_classes_than_there_are() -> None:
    config, source = blob_run(ways=4)
    offered = menu(config, source)
    point = {"learner": "protonet", "network": "mlp, 40", "lr": 1e-3, "ways": 4}
    most = len(source.classes("train"))
    assert most < 16
    assert offered.config(point).train_ways == most
    other = offered.space.settled({**point, "learner": "maml"})
    assert other["ways"] == 1
    assert offered.config(other).train_ways is None


def test_a_network_of_the_recipe_is_always_offered() -> None:
    config, source = blob_run()
    offered = menu(replace(config, model=models.part("mlp", width=7)), source)
    assert offered.networks["recipe"] == models.part("mlp", width=7)


def test_a_point_outside_is_refused() -> None:
    offered = menu(*blob_run())
    with pytest.raises(ConfigError, match="lr is 1.0"):
        offered.config({"learner": "protonet", "network": "mlp, 40", "lr": 1.0, "ways": 1})


def test_agents_are_choices_too() -> None:
    config = replace(
        numbers_run()[0], tasks=sources.part("bandit", arms=2), learner=learners.part("rl2", width=8), ways=1, shots=2,
        queries=2,
    )  # fmt: skip
    offered = menu(config, config.tasks.build())
    assert {"rl2, gru", "rl2, lstm", "rl2, fast"} <= set(offered.learners)
    assert "protonet" in offered.left_out
