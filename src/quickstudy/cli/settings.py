"""A recipe's numbers as command-line options, and back."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from quickstudy import registry
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.modules import executed
from quickstudy.options import pairs
from quickstudy.registry import Part
from quickstudy.training.config import PARTS, RunConfig

_NOT_OPTIONS = {"protocols", *PARTS}
_OF_TORCH = ("optimizer_options", "schedule_options")  # what they take, torch decides: numbers, lists, words


def load_recipe(name: str) -> RunConfig:
    """The recipe called `name`; or the one in the Python file `name`, `name`.py: a function `recipe()`."""
    if name in registry.recipes:
        return registry.recipes[name]()  # type: ignore[no-any-return]
    for path in (Path(name), Path(f"{name}.py")):
        if path.suffix == ".py" and path.is_file():
            return _recipe_file(path)
    raise unknown_name("recipe", name, registry.recipes)


def _recipe_file(path: Path) -> RunConfig:
    recipe = getattr(executed(path, path.stem.replace("-", "_")), "recipe", None)
    config = recipe() if callable(recipe) else None
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"{path} has no function recipe() that returns a quickstudy.RunConfig. Define one: "
            "def recipe() -> RunConfig: return replace(quickstudy.recipes.omniglot_protonet(), name='mine', …)"
        )
    return config


def chosen_parts(config: RunConfig, argv: Sequence[str]) -> tuple[RunConfig, list[str], list[str]]:
    """Apply --tasks, --model and --learner NAME; (config, the other arguments, what to tell the user)."""
    rest, notes, arguments = [], [], list(argv)
    while arguments:
        argument = arguments.pop(0)
        flag, equals, value = argument.partition("=")
        if flag.removeprefix("--") not in PARTS or not flag.startswith("--"):
            rest.append(argument)
            continue
        if not equals:
            if not arguments:
                raise ConfigError(f"{flag} needs a name after it. `quickstudy list {flag[2:]}` shows them.")
            value = arguments.pop(0)
        kind = flag.removeprefix("--")
        if value == getattr(config, kind).name:
            continue
        part = PARTS[kind].part(value)
        if kind == "tasks":
            dropped = [n for n in ("train_ways", "train_shots", "train_queries") if getattr(config, n) is not None]
            config = config.with_tasks(part)
            if dropped:
                notes.append(
                    f"{', '.join(dropped)} of the recipe were chosen for its own tasks: training tasks are now as "
                    "large as evaluation tasks (set --train-ways, --train-shots or --train-queries to change that)."
                )
        else:
            changes: dict[str, Any] = {kind: part}
            config = replace(config, **changes)
    return config, rest, notes


def _descriptions(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass in its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            found[statement.target.id] = text if isinstance(text, str) else ""
    return found


def _option(annotation: Any, value: Any, text: str = "") -> tuple[Any, Field[Any]]:
    import tyro

    annotation = Annotated[annotation, tyro.conf.arg(help=text)] if text else annotation
    if value is inspect.Parameter.empty:
        return annotation, field(default=MISSING)
    return annotation, field(default_factory=lambda: value)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _part_class(kind: str, part: Part[Any]) -> type:
    texts = part.registry.describe(part.name)
    options = [
        (name, *_option(parameter.annotation, part.options.get(name, parameter.default), texts[name]))
        for name, parameter in part.parameters().items()
    ]
    made = make_dataclass(kind.capitalize(), options, kw_only=True)
    made.__doc__ = f"{part.name}: {part.registry.summary(part.name)}"
    return made


def with_part(kind: type, name: str, part: Part[Any]) -> type:
    """A dataclass of options whose field `name` holds the options of a part."""
    options = _part_class(name, part)
    made = make_dataclass(kind.__name__, [(name, options, field(default_factory=options))], bases=(kind,))
    made.__doc__ = kind.__doc__
    return made


def taken(flag: str, argv: Sequence[str], needs: str = "a value after it") -> tuple[list[str], list[str]]:
    """The values that an option is given, and the other arguments. needs: what is said where one lacks."""
    values, rest, left = [], [], list(argv)
    while left:
        argument = left.pop(0)
        name, equals, after = argument.partition("=")
        if name != flag:
            rest.append(argument)
            continue
        if not equals and not left:
            raise ConfigError(f"{flag} needs {needs}.")
        values.append(after if equals else left.pop(0))
    return values, rest


@dataclass(frozen=True)
class Settings:
    """The options of a config: a dataclass for tyro to fill, and the way back to a config."""

    config: RunConfig
    kind: type

    @classmethod
    def of(cls, config: RunConfig, extra: Sequence[tuple[str, Any, Any, str]] = ()) -> Settings:
        """extra: further options of the command, as (name, annotation, default, description)."""
        hints, texts = get_type_hints(RunConfig), _descriptions(RunConfig)
        options = [(name, *_option(annotation, default, text)) for name, annotation, default, text in extra]
        for f in fields(RunConfig):
            if f.name in _NOT_OPTIONS:
                continue
            annotation, value = hints[f.name], getattr(config, f.name)
            if f.name in _OF_TORCH:
                annotation = tuple[str, ...]  # names and values in turn, so that they replace those of the recipe
                value = tuple(text for name, v in value.items() for text in (name, _written(v)))
            options.append((f.name, *_option(annotation, value, texts[f.name])))
        for kind in PARTS:
            part = _part_class(kind, getattr(config, kind))
            required = any(f.default is MISSING and f.default_factory is MISSING for f in fields(part))
            options.append((kind, part, field() if required else field(default_factory=part)))
        options.sort(key=lambda o: o[2].default_factory is not MISSING or o[2].default is not MISSING)
        made = make_dataclass("Settings", options, kw_only=True)
        made.__doc__ = f"Train the recipe {config.name}; every number below can be changed."
        return cls(config, made)

    def apply(self, parsed: Any) -> RunConfig:
        """The config with the values that were parsed."""
        changes = {f.name: getattr(parsed, f.name) for f in fields(RunConfig) if f.name not in _NOT_OPTIONS}
        for name in _OF_TORCH:
            changes[name] = pairs(f"--{name.replace('_', '-')}", changes[name])
        for kind in PARTS:
            part = getattr(self.config, kind)
            values = {f.name: getattr(getattr(parsed, kind), f.name) for f in fields(getattr(parsed, kind))}
            changes[kind] = part.registry.part(part.name, **values)
        return replace(self.config, **changes)
