"""An agent is watched: real pictures of what it did."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy import rng
from quickstudy.cli import main
from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.registry import learners, models, sources
from quickstudy.rl import Bandit
from quickstudy.rl.film import gif, returns, write
from quickstudy.rl.pictures import BACK, GOAL
from quickstudy.rl.watching import source_of


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
    acting = source.under(run.learner, run.params)
    reels, played = acting.reels("test", 2), acting.episodes("test", torch.tensor([2])).query
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
    capsys.readouterr()
    assert main(["watch", str(run.folder), "--out", str(out), "--frames", "4"]) == 0
    with Image.open(out) as film:
        assert getattr(film, "n_frames", 1) <= 4  # equal ones are one that is shown for longer
    assert "the first 4 of 15 steps (--frames)" in capsys.readouterr().out
    assert main(["watch", str(run.folder), "--out", str(out), "--frames", "0"]) == 2


def test_a_video_has_a_frame_for_each_step(run: qs.Run, tmp_path: Path) -> None:
    source, out = source_of(run.parts.source).under(run.learner, run.params), tmp_path / "watch.mp4"
    reels = source.reels("test", 0)
    try:
        import av
    except ImportError:
        with pytest.raises(MissingExtra, match=r"quickstudy\[video\]"):
            write(reels, out)
        return
    write(reels, out)
    with av.open(str(out)) as video, Image.open(io.BytesIO(gif(reels))) as first:
        frames = [frame.to_image() for frame in video.decode(video=0)]
        assert len(frames) == 15 and frames[0].size == tuple(side - side % 2 for side in first.size)
        there = torch.tensor(list(frames[0].convert("L").tobytes()), dtype=torch.float32)
        same = first.convert("L").crop((0, 0, *frames[0].size)).tobytes()
        assert float((there - torch.tensor(list(same), dtype=torch.float32)).abs().mean()) < 6  # it is compressed


@pytest.mark.parametrize("workers", [0, 1])
def test_simulators_are_filmed_as_they_are_played(workers: int) -> None:
    """Rewards of the film are those of the same episodes without one, and the first picture is Gymnasium's own."""
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("pygame")
    source = sources.make("gym", id="cartpole", horizon=6, workers=workers).sampled(qs.Sampling(1, 1, 2))
    learner = learners["ppo"](torch.nn.Linear(4, 3), source.spec)
    acting = source.under(learner, learner.init(torch.Generator().manual_seed(0)))
    reels = acting.reels("test", 3)
    played = acting.episodes("test", torch.tensor([3])).query
    told = source.spec.target.outcome(played.y[played.mask])
    assert list(reels) == ["as it acts"]  # which has no memory, so that there is no before
    assert [frame.reward for frame in reels["as it acts"]] == told.reward.tolist()
    one = gymnasium.make("CartPole-v1", render_mode="rgb_array").unwrapped
    one.reset()
    one.length, one.state = float(acting.stage("test", torch.tensor([3])).task["numbers"][0, 0]), played.x[0, 0].numpy()
    own = torch.from_numpy(one.render() / 255).float()
    assert float((reels["as it acts"][0].picture - own).abs().max()) < 1e-6


def test_environments_of_a_file_are_drawn_where_they_take_a_render_mode(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    pytest.importorskip("pygame")
    text = "import gymnasium\n\n\ndef make(length, {}):\n    return gymnasium.make('CartPole-v1', {})\n"
    for name, takes, gives in (("drawn", "render_mode=None", "render_mode=render_mode"), ("plain", "other=0", "")):
        (tmp_path / f"{name}.py").write_text(text.format(takes, gives))
        source = sources.make("gym", id=str(tmp_path / f"{name}.py"), vary=("length 0.3 0.7",), horizon=3)
        source = source.sampled(qs.Sampling(1, 1, 1))
        learner = learners["ppo"](torch.nn.Linear(4, 3), source.spec)
        acting = source.under(learner, learner.init(torch.Generator().manual_seed(0)))
        if name == "drawn":
            assert len(acting.reels("test", 0)["as it acts"]) == 3
            continue
        with pytest.raises(ConfigError, match=r"render_mode is None .* make\(…\) take render_mode"):
            acting.reels("test", 0)


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
