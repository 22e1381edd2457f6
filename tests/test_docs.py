"""The documentation is true: its Python runs, its links resolve, its command lines exist, and no part is left out."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import re
import runpy
import shlex
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

import quickstudy as qs
from quickstudy.cli import COMMANDS, choose_command, list_command, own, search_command, train_command
from quickstudy.cli.recipe import recipe_and_rest
from quickstudy.cli.settings import Settings, chosen_parts, load_recipe
from quickstudy.runs.run import Run

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOT_RUN = "<!-- not run -->"
COMMAND_CLASSES = {name: name.capitalize() for name in COMMANDS if name not in ("train", "choose", "search")} | {
    "memory": "List"
}
MEMORY = ("build", "list", "show", "search", "adapt", "prune", "index", "export", "check")
FILES_NAMED = ("mine.py",)  # recipe files that stand for the reader's own


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, but not those marked as not to be run."""
    pattern = rf"({NOT_RUN}\n+)?^```{language}\n(.*?)^```"
    return [body for mark, body in re.findall(pattern, page.read_text(), re.M | re.S) if not mark]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in; what is registered there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    for registry in (
        qs.registry.learners, qs.registry.models, qs.registry.sources, qs.registry.recipes, qs.registry.formats,
        qs.registry.targets, qs.registry.selectors, qs.registry.strategies,
    ):  # fmt: skip
        monkeypatch.setattr(registry, "_entries", dict(registry._load()))
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of two steps and evaluations of few tasks, whatever the page says."""
    train, evaluate = qs.train, Run.evaluate

    def tiny(config: qs.RunConfig, **options: Any) -> Run:
        size = {"validation_episodes": 2, "calibration_episodes": 1}
        return train(replace(config, iterations=2, **size), **{"quiet": True, **options})

    def few(self: Run, *, episodes: int = 0, **options: Any) -> qs.Result:
        return evaluate(self, episodes=3, **options)

    monkeypatch.setattr(qs, "train", tiny)
    monkeypatch.setattr(Run, "evaluate", few)
    for count in ("TASKS", "FEWER"):
        monkeypatch.setattr(f"quickstudy.trust.fit.{count}", 40)


def prepare(page: Path) -> None:
    """What a page takes for granted before its first block: a run, an adapted model, some images."""
    import torch
    from PIL import Image

    if page.name == "text.md":
        pytest.importorskip("tokenizers")
    if page.name == "from-keras.md":
        os.environ.setdefault("KERAS_BACKEND", "torch")
        pytest.importorskip("keras")
        pytest.importorskip("lancedb")
    if page.parent.name == "fields":
        for package in {"medicine": ["sklearn", "pandas"], "finance": ["statsmodels.api"]}.get(page.stem, ()):
            pytest.importorskip(package)
    if page.name == "sound.md":
        prepare_sound()
    if page.name == "masks.md":
        prepare_masks()
    if page.name == "tables.md":
        prepare_tables()
    if page.name == "pretrained.md":
        prepare_pretrained()
    if page.name == "scikit-learn.md":
        pytest.importorskip("sklearn", minversion="1.6")
        pytest.importorskip("pandas")
        prepare_tables()
        train_reader(qs.recipes.tables())
    if page.name == "warm-starting.md":
        pytest.importorskip("scipy")
    if page.name in ("choosing.md", "searching.md"):
        pytest.importorskip("scipy")
    if page.name == "selecting.md":
        prepare_scenario()
    if page.name not in ("files.md", "guide.md"):
        return
    run = qs.train(qs.recipes.demo_glyphs())
    run.adapt(torch.rand(4, 1, 28, 28), ["a", "a", "b", "b"]).save("my-model")
    Path("unsorted").mkdir()
    Image.new("L", (40, 30), 200).save("unsorted/one.png")


def prepare_scenario() -> None:
    """A scenario of ASlib."""
    pytest.importorskip("sklearn")
    pytest.importorskip("yaml")
    from select_scenarios import made_up, write

    write(made_up(), Path("MY-SCENARIO"))


def prepare_masks() -> None:
    """A run on masks, and a model of one concept."""
    from mask_files import write_concepts

    write_concepts(Path("concepts"))
    tasks = qs.registry.sources.part("masks", root="concepts", val=0.2, test=0.2)
    model = qs.registry.models.part("unet", width=4, depth=1)
    run = qs.train(replace(qs.recipes.masks(), tasks=tasks, model=model, queries=2), out="my-run")
    run.adapt(Path("concepts", "cat")).save("my-model")


def prepare_tables() -> None:
    """A run that reads tables, and a table."""
    train_reader(qs.recipes.tables_numbers())
    rows = [
        f"{i},{20 + 7 * i},{'Bonn' if i % 3 else 'Ulm'},2024-03-1{i},{'true' if i % 2 else ''},{900 * i}"
        for i in range(9)
    ]
    Path("train.csv").write_text("\n".join(["id,size,town,sold,garden,price", *rows]))


def prepare_pretrained() -> None:
    """Drawings of two shapes, and tables."""
    from PIL import Image, ImageDraw

    for name, end in (("cross", 10), ("wedge", 90)):
        for number in (1, 2):
            drawn = Image.new("L", (120, 120), 255)
            ImageDraw.Draw(drawn).line([(10, 10), (60 + number, 90), (110, end)], fill=0, width=3 + number)
            Path("shapes", name).mkdir(parents=True, exist_ok=True)
            drawn.save(Path("shapes", name, f"{number}.png"))
    Path("unsorted").mkdir()
    drawn.save("unsorted/one.png")
    rows = [f"{20 + 7 * i},{'Bonn' if i % 3 else 'Ulm'},{900.5 * i}" for i in range(20)]
    Path("train.csv").write_text("\n".join(["size,town,price", *rows]))
    Path("new.csv").write_text("size,town\n33,Bonn\n50,Ulm\n")


def train_reader(config: qs.RunConfig) -> None:
    """A small run of a recipe of tables, in the folder of its name."""
    learner = replace(config.learner, options=config.learner.options | {"width": 8, "layers": 1, "heads": 2})
    qs.train(replace(config, learner=learner, meta_batch=2, precision="float32"), out=f"runs/{config.name}")


def prepare_sound() -> None:
    """A model of two sounds, and a recording."""
    import torch

    soundfile = pytest.importorskip("soundfile")
    clips = (0.1 * torch.randn(40, 800)).unbind()
    source = qs.tasks.arrays(clips, [i % 10 for i in range(40)], format=qs.formats.Audio(rate=8000, seconds=0.1))
    config = replace(qs.recipes.audio(), ways=2, queries=2)
    qs.train(config, source=source).adapt(clips[:4], list("aabb")).save("my-model")
    soundfile.write("new.wav", clips[5].numpy(), 8000)


def has_code_of_its_own(page: Path) -> bool:
    """Blocks of Chinese pages are, but for comments, those of the English ones: test_docs_zh.py."""
    return bool(blocks(page, "python")) and page.parent.name != "zh" and page.name != "README.zh-CN.md"


@pytest.mark.parametrize("page", [p for p in PAGES if has_code_of_its_own(p)], ids=page_id)
@pytest.mark.usefixtures("small", "workplace")
def test_python_blocks_of_a_page_run_one_after_another(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(page)
    code = "\n".join(blocks(page, "python"))
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # dataclasses look their module up
    exec(compile(code, page_id(page), "exec"), module.__dict__)


@pytest.mark.parametrize("path", EXAMPLES, ids=page_id)
@pytest.mark.usefixtures("small", "workplace")
def test_examples_run(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    if path.stem == "sentences":
        pytest.importorskip("tokenizers")
    spec.loader.exec_module(module)
    module.main(2)
    assert capsys.readouterr().out.strip(), "an example shows something"


@pytest.mark.usefixtures("small", "workplace")
def test_the_example_of_agents_takes_an_environment_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    main = runpy.run_path(str(ROOT / "examples" / "agents.py"))["main"]
    main(2, "CartPole-v1", "length 0.3 0.7")
    assert (Path("runs") / "mine" / "adapted").is_dir() and "saved as" in capsys.readouterr().out


def test_there_are_examples() -> None:
    doors = {"photos", "sentences", "recordings", "tables", "masks", "series", "agents", "deploy"}
    assert doors | {"own_learner", "own_source", "regression", "folder"} <= {path.stem for path in EXAMPLES}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)  # where a comment looks like a heading
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page_id(page)} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page_id(page)} links to the missing heading {target}"


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of every `quickstudy …` in shell blocks and in code spans, without prompts and comments."""
    text = page.read_text()
    lines = [line for body in blocks(page, "sh") for line in body.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`(quickstudy [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for line in [*lines, *spans]:
        words = shlex.split(line, comments=True)
        if words[:1] == ["quickstudy"]:
            yield [word for word in words[1:] if word != "…"]


def option_names(kind: type, prefix: str = "") -> set[str]:
    """The options that tyro makes of a dataclass."""
    names = {"--help"}
    for field in dataclasses.fields(kind):
        name = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(part := typing.get_type_hints(kind).get(field.name)):
            names |= option_names(cast(type, part), f"{name}.")
        else:
            names |= {f"--{name}", f"--{name.rpartition('.')[0]}{'.' if '.' in name else ''}no-{field.name}"}
    return names


SEARCHES = {"choose": choose_command._EXTRA, "search": search_command._EXTRA}


def class_of(command: str, words: list[str]) -> type:
    """The dataclass of a command's options; of a command with commands of its own, that of the one that is called."""
    module = importlib.import_module(f"quickstudy.cli.{command}_command")
    nested = [word.capitalize() for word in words[:1] if hasattr(module, word.capitalize())]
    return getattr(module, nested[0] if nested else COMMAND_CLASSES[command])  # type: ignore[no-any-return]


def check_command_line(words: list[str]) -> None:
    _, words = own.split(words)
    command, rest = words[0], words[1:] or ["RECIPE"]
    assert command in COMMANDS, f"there is no command {command!r}"
    if command == "train" and rest[0] != "--resume":
        if rest[0] == "RECIPE" or rest[0] in FILES_NAMED:
            rest = ["demo", *rest[1:]]
        rest = [word.replace("NAME", "protonet") for word in rest]
        config, others, _ = chosen_parts(load_recipe(rest[0]), rest[1:])
        known = option_names(Settings.of(config, train_command._EXTRA).kind)
    elif command == "train":
        known, others = {"--resume", *option_names(train_command.Resume)}, rest
    elif command in SEARCHES and rest[0] != "--resume":
        named, rest = recipe_and_rest([rest[0].replace("RECIPE", "demo"), *rest[1:]], command)
        config, others, _ = chosen_parts(load_recipe(named), [word.replace("NAME", "glyphs") for word in rest])
        known = option_names(Settings.of(config, SEARCHES[command]).kind)
    elif command in SEARCHES:
        known, others = {"--resume", *option_names(choose_command.Resume)}, rest
    else:
        known, others = option_names(class_of(command, rest)), rest
        if command == "reproduce" and rest[0] not in ("RECIPE", *FILES_NAMED):
            load_recipe(rest[0])
        if command == "list" and rest != ["RECIPE"]:
            assert rest[0] in (*list_command._KINDS, "pretrained", "runs")
    for word in others:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"`quickstudy {command}` has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_command_lines_name_commands_recipes_and_options_that_exist(page: Path) -> None:
    for words in command_lines(page):
        check_command_line(words)


@pytest.mark.parametrize(
    "wrong",
    [
        ["tain", "demo"],
        ["train", "dmo"],
        ["train", "demo", "--itrations", "3"],
        ["train", "demo", "--tasks.rotat", "3"],
        ["adapt", "demo", "--supprt", "x"],
    ],
    ids=lambda words: " ".join(words),
)
def test_a_wrong_command_line_would_be_found(wrong: list[str]) -> None:
    with pytest.raises((AssertionError, qs.QuickstudyError)):
        check_command_line(wrong)


def bare_options(page: Path) -> set[str]:
    """Options that stand in code spans of their own, such as `--train-ways 20`."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return {
        word.split("=")[0] for span in re.findall(r"`(--[^`]+)`", text) for word in span.split() if word[:2] == "--"
    }


FOREIGN = {"--extra-index-url"}  # pip's


@functools.cache
def every_option() -> set[str]:
    """The options of all commands, with any tasks and any learner."""
    known = {"--resume", "--tasks", "--model", "--learner", "--out", "--overwrite", "--report", "--no-report", own.FLAG}
    known |= FOREIGN
    for tasks in qs.registry.sources:
        for learner in qs.registry.learners:
            words = ["--tasks", tasks, "--learner", learner]
            known |= option_names(Settings.of(chosen_parts(qs.recipes.demo(), words)[0]).kind)
    for extra in (train_command._EXTRA, *SEARCHES.values()):
        known |= option_names(Settings.of(qs.recipes.demo(), extra).kind)
    known |= {"--environment" + name.removeprefix("--tasks") for name in known if name.startswith("--tasks.")}
    for command in COMMAND_CLASSES:
        for word in (command, *MEMORY) if command == "memory" else (command,):
            known |= option_names(class_of(command, [word]))
    return known


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_named_alone_belong_to_some_command(page: Path) -> None:
    unknown = bare_options(page) - every_option()
    assert not unknown, f"{page_id(page)} names options that no command has: {sorted(unknown)}"


@pytest.mark.parametrize(
    ("registry", "page"),
    [
        (qs.registry.learners, "docs/learners.md"),
        (qs.registry.sources, "docs/learners.md"),
        (qs.registry.models, "docs/learners.md"),
        (qs.registry.recipes, "docs/files.md"),
        (qs.metagrads.METAGRADS, "docs/learners.md"),
        (qs.registry.selectors, "docs/selecting.md"),
        (qs.registry.strategies, "docs/warm-starting.md"),
    ],
    ids=["learners", "tasks", "models", "recipes", "metagrads", "selectors", "strategies"],
)
def test_every_part_is_described(registry: Any, page: str) -> None:
    text = (ROOT / page).read_text()
    assert not [name for name in registry if f"`{name}`" not in text]


def test_every_option_of_a_learner_is_described() -> None:
    text = (ROOT / "docs/learners.md").read_text()
    known: Callable[[str], bool] = lambda option: f"`{option}" in text  # noqa: E731
    internal = {"classes"}  # filled in by the run
    for name in qs.registry.learners:
        options = set(qs.registry.learners.part(name).parameters()) - internal
        assert not [option for option in options if not known(option)], name


@pytest.mark.parametrize(
    ("registry", "page"),
    [
        (qs.registry.selectors, "docs/selecting.md"),
        (qs.registry.strategies, "docs/warm-starting.md"),
    ],
    ids=["selectors", "strategies"],
)
def test_every_option_of_a_selector_is_described(registry: Any, page: str) -> None:
    text = (ROOT / page).read_text()
    for name in registry:
        assert not [o for o in registry.part(name).parameters() if f"`{o}`" not in text], name


def test_no_page_names_a_folder_of_some_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp)/", page.read_text()), page_id(page)
