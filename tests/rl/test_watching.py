"""An agent is watched: real pictures of what it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy import rng
from quickstudy.cli import main
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.rl import Bandit
from quickstudy.rl.pictures import BACK, GOAL
from quickstudy.rl.watching import before_and_after, returns, source_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    config = qs.RunConfig(
        name="agent", tasks=sources.part("gridworld", size=3, horizon=5), model=models.part("mlp", width=4, depth=1),
        learner=learners.part("rl2", width=4), ways=1, queries=3, iterations=1, meta_batch=4, validation_episodes=4,
        compile="off", device="cpu",
    )  # fmt: skip
    return qs.train(config, out=tmp_path_factory.mktemp("rl") / "run", quiet=True)


def test_a_film_shows_what_was_evaluated(run: qs.Run) -> None:
    """Returns of the frames are those of the task's episodes, and as many steps of each."""
    source = source_of(run.parts.source)
    reels = before_and_after(source, run.learner, run.params, "test", 2)  # type: ignore[arg-type]
    played = source.under(run.learner, run.params).episodes("test", torch.tensor([2])).query
    told = source.spec.target.metrics(torch.empty(0), type(played)(*(leaf[0] for leaf in played)))  # type: ignore[arg-type]
    assert returns(reels["as it learns"]) == pytest.approx([float(told[f"return in episode {i}"]) for i in (1, 2, 3)])
    assert [frame.episode for frame in reels["its memory wiped"]] == [0] * 5 + [1] * 5 + [2] * 5


def test_the_command_writes_an_animated_picture(
    run: qs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "watch.gif"
    assert main(["watch", str(run.folder), "--out", str(out)]) == 0
    with Image.open(out) as film:
        assert getattr(film, "n_frames", 1) > 1 and film.size[0] > film.size[1] > 200
    assert "as it learns: returns" in capsys.readouterr().out
    assert main(["watch", str(run.folder), "--out", str(out)]) == 0  # it may be made anew
    assert main(["watch", str(run.folder), "--out", str(tmp_path / "watch.json")]) == 2


@pytest.mark.parametrize("name", ["gridworld", "point-robot", "highway", "arcade"])
def test_every_lane_has_a_picture_of_its_own_task(name: str) -> None:
    environment = sources.make(name).environment
    keys = rng.split(rng.key(0, "pictures"), 4)
    task = environment.task("test", keys)
    pictures = environment.picture(task, environment.reset(task, keys))
    assert pictures.shape[0] == 4 and pictures.shape[3] == 3
    assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    alone = {part: value[2:3] for part, value in task.items()}
    assert torch.equal(environment.picture(alone, environment.reset(alone, keys[2:3]))[0], pictures[2])
    assert (pictures != torch.tensor(BACK)).any(-1).flatten(1).any(1).all()


def test_a_goal_is_drawn_where_it_is() -> None:
    environment = sources.make("gridworld", size=3).environment
    picture = environment.picture({"goal": torch.tensor([5])}, {"place": torch.zeros(1, 2, dtype=torch.int64)})[0]
    rows, columns = (picture == torch.tensor(GOAL)).all(-1).nonzero().float().mean(0).tolist()
    side = picture.shape[0] / 3
    assert rows == pytest.approx(1.5 * side, abs=2) and columns == pytest.approx(2.5 * side, abs=2)


def test_what_has_no_picture_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="Bandit cannot be drawn"):
        Bandit().picture({}, {})
    config = qs.recipes.sinusoid_maml()
    folder = qs.train(replace(config, iterations=0), out=tmp_path / "run", quiet=True).folder
    assert main(["watch", str(folder), "--out", str(tmp_path / "a.gif")]) == 2
    assert "does not act" in capsys.readouterr().err
