"""Help, lists, options, and how the commands answer mistakes."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from new_user import Capture, accepted, refused

from quickstudy import __version__, registry
from quickstudy.cli import COMMANDS, main, own
from quickstudy.cli.parse import parse
from quickstudy.cli.settings import Settings


def test_help_names_every_command(capsys: Capture) -> None:
    for line in ("", "--help", "help"):
        text = accepted(line, capsys)
        assert all(re.search(rf"^  {name}\s+{re.escape(what)}$", text, re.M) for name, what in COMMANDS.items())
    assert accepted("--version", capsys) == f"quickstudy {__version__}\n"


OF_RECIPES = ("train", "choose", "search")  # their options follow from a recipe


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in OF_RECIPES])
def test_each_command_has_help(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: quickstudy {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", OF_RECIPES)
def test_commands_of_recipes_have_help_with_and_without_one(command: str, capsys: Capture) -> None:
    assert f"usage: quickstudy {command}" in accepted(f"{command} --help", capsys)
    with pytest.raises(SystemExit) as stopped:
        main([command, "demo", "--help"])
    assert stopped.value.code == 0
    assert "--minutes" in capsys.readouterr().out


def test_help_of_a_recipe_shows_its_numbers(capsys: Capture) -> None:
    assert "--resume" in accepted("train --help", capsys)
    with pytest.raises(SystemExit):
        main(["train", "sinusoid-maml", "--help"])
    text = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for shown in (
        "--iterations INT Outer steps. (default: 70000)",
        "--learner.lr FLOAT rate and number of inner steps. (default: 0.01)",
        "--model.width",
    ):
        assert shown in text


@pytest.mark.parametrize("kind", ["recipes", "learners", "models", "tasks"])
def test_lists(kind: str, capsys: Capture) -> None:
    known = {"tasks": registry.sources}.get(kind) or getattr(registry, kind)
    listed = accepted(f"list {kind} --plain", capsys).split()
    if kind == "recipes":  # for data of one's own first
        own = {"photos", "unlabelled", "masks", "text", "audio", "rows", "forecast"}
        assert sorted(listed) == sorted(known) and own < set(listed[:12])
    else:
        assert listed == list(known)
    described = accepted(f"list {kind}", capsys)
    assert all(name in described and known.summary(name)[:40] in described for name in known)


@pytest.mark.parametrize("name", registry.recipes)
def test_options_that_are_not_given_change_nothing(name: str) -> None:
    config = registry.recipes[name]()
    known = config.tasks.parameters().items()
    place = {n: "here" for n, p in known if p.default is p.empty and n not in config.tasks.options}
    needed = [word for option in place for word in (f"--tasks.{option}", "here")]
    settings = Settings.of(config)
    config = replace(config, tasks=replace(config.tasks, options=config.tasks.options | place))
    again = settings.apply(parse(settings.kind, "train", needed))
    assert json.dumps(again.to_json()) == json.dumps(config.to_json())
    changed = settings.apply(
        parse(settings.kind, "train", [*needed, *["--iterations", "7", "--lr", "0.5", "--clip", "3"]])
    )
    assert changed.to_json() == replace(config, iterations=7, lr=0.5, clip=3.0).to_json()


def test_options_of_torch_are_of_any_type() -> None:
    config = registry.recipes["linear-maml"]()
    settings = Settings.of(replace(config, schedule_options={"milestones": [3, 5], "gamma": 0.1}))
    line = ["--optimizer-options", "betas", "[0.9, 0.99]", "weight_decay", "0.01", "amsgrad", "true", "fused", "False"]
    parsed = settings.apply(parse(settings.kind, "train", line))
    assert parsed.optimizer_options == {"betas": (0.9, 0.99), "weight_decay": 0.01, "amsgrad": True, "fused": False}
    assert parsed.schedule_options == {"milestones": (3, 5), "gamma": 0.1}
    line = ["--schedule-options", "anneal_strategy", "cos", "cycle_momentum", "false"]
    parsed = settings.apply(parse(settings.kind, "train", line))
    assert parsed.schedule_options == {"anneal_strategy": "cos", "cycle_momentum": False}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian linear-maml", "no command called 'trian'. Did you mean 'train'"),
        ("train liner-maml", "no recipe called 'liner-maml'. Did you mean 'linear-maml'"),
        ("train linear-maml --iteration 3", "Perhaps you meant: --iterations"),
        ("train linear-maml --learner.stesp 3", "--learner.steps"),
        ("train linear-maml --iterations many", "--iterations"),
        ("train linear-maml --iterations -1", "iterations cannot be negative, found -1"),
        ("train linear-maml --learner mamll", "no learner called 'mamll'. Did you mean 'maml'"),
        ("train linear-maml --tasks linaer", "no task source called 'linaer'. Did you mean 'linear'"),
        ("train linear-maml --model", "--model needs a name after it"),
        ("train linear-maml --optimizer Adm", "Did you mean 'Adam'"),
        ("train linear-maml --device cuda:77", "PyTorch sees"),
        ("train --iterations 3", "A recipe comes first"),
        ("train my_recipe --tasks folder --ways 3", "--tasks.root"),
        ("train my_recipe --tasks folder --tasks.root ./fotos", "/fotos. Check the path"),
        ("train my_recipe --tasks folder --tasks.root ./photos --ways 9", "9-way tasks need 9 classes"),
        ("train my_recipe --out runs/mine", "--resume runs/mine"),
        (
            "train my_recipe --tasks folder --tasks.root ./photos --train-ways 9 --ways 4",
            "4-way tasks need 4 classes, but the split 'test' has 3. Lower the ways (--ways 3), or add",
        ),
        ("adapt text --support x.csv --out m", "it is a recipe. Train it first: quickstudy train text"),
        ("train --resume mime", "no run called 'mime'. Did you mean 'mine"),
        ("evaluate mime", "Did you mean 'mine"),
        ("evaluate mine --split tset", "Did you mean 'test'"),
        ("evaluate mine --episodes 1", "at least 2"),
        ("evaluate mine --steps 3", "does not adapt in steps"),
        ("evaluate mine --ways 0", "ways"),
        ("adapt mine --support ./nowhere --out ./m", "no folder nowhere"),
        ("adapt mine --support ./unsorted --out ./m", "has no sub-folders"),
        ("adapt mine --support ./new-classes --out ./runs/mine", "already holds a run"),
        ("predict ./photos ./unsorted", "There is no adapted model in photos"),
        ("list recepies", "recipes"),
        ("reproduce mine", "no recipe called 'mine'"),
    ],
)
def test_mistakes_are_answered(line: str, said: str, there: Path, capsys: Capture) -> None:
    before = sorted(there.glob("*")) + sorted(there.glob("runs/*"))
    assert said in refused(line, capsys)
    assert sorted(there.glob("*")) + sorted(there.glob("runs/*")) == before, "something was left behind"


def test_recipe_file_without_a_recipe(there: Path, capsys: Capture) -> None:
    (there / "empty_recipe.py").write_text("x = 3\n")
    assert "has no function recipe()" in refused("train empty_recipe", capsys)


def test_a_proposed_command_can_be_typed_whatever_its_words() -> None:
    with own.imported(["json"]):
        line = own.proposed("predict", Path("my model"), "a b.csv", "--out", "x.csv")
        assert shlex.split(line) == [
            "quickstudy",
            "predict",
            "my model",
            "a b.csv",
            "--out",
            "x.csv",
            "--import",
            "json",
        ]
    assert own.proposed("train --resume", "run", names=["my parts.py"]) == (
        "quickstudy train --resume run --import 'my parts.py'"
    )
