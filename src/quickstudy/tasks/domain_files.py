"""Several sources that a file, or a command, names."""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import ConfigError, DataError, unknown_name
from quickstudy.files import require_regular
from quickstudy.formats.base import Format
from quickstudy.options import pairs
from quickstudy.registry import Part, formats, sources
from quickstudy.storage.json import read_json
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.domains import Domains, Weights, of_domain
from quickstudy.tasks.pool import TensorPool
from quickstudy.tasks.stored import prints
from quickstudy.tasks.tree import read_tree

_REMEDY = "Write one object for each domain, with the options of its source."
_SUFFIXES = (".toml", ".json")
_log = logging.getLogger("quickstudy")


@dataclass(frozen=True)
class Described:
    """One domain: its source, the split that all of it is held out for ('' for none), and the file of a tree."""

    name: str
    part: Part[Any]
    held: str = ""
    tree: str = ""

    def written(self) -> str:
        """The domain in one word, as the option `domains` takes it."""
        return json.dumps(
            {"name": self.name, "tasks": self.part.name, "held": self.held, "tree": self.tree, **self.part.options}
        )


def _settled(**options: Any) -> dict[str, Any]:
    """With what files say, and what the sources read from elsewhere."""
    described = [
        replace(one, part=one.part.settled(), tree=str(Path(one.tree).absolute()) if one.tree else "")
        for one in _described(options["domains"])
    ]
    return options | {"domains": tuple(one.written() for one in described)}


@sources.register("domains", data="several sources of tasks", settle=_settled)
def domains(
    *,
    domains: tuple[str, ...],
    held_out: tuple[str, ...] = (),
    validation: tuple[str, ...] = (),
    weights: Weights = "equal",
    format: str = "image",
    options: tuple[str, ...] = (),
) -> Domains:
    """Several sources at once, each task from one of them; some may be held out.

    The way of Meta-Dataset (Triantafillou et al. 2020).

    domains: for each one word NAME=FOLDER, of images in sub-folders by class; or a file (.toml, .json) that names them
        with the options of their sources: see "Several sources at once" in the documentation.
    held_out: names of domains that are only for test. validation: of those that are only for validation.
    weights: how often domains give training tasks: 'equal', or by the number of their 'classes'.
    format: that all are brought to; see `quickstudy list formats`. options: of the format, names and values in turn,
        such as size 64 channels 3.

    Raises DataError, naming the domain, where one cannot give tasks, such as one of a single class.
    """
    shared: Format = formats.make(format, **pairs("--tasks.options", options))
    described = _described(domains)
    held = {one.name: one.held for one in described if one.held}
    for split, names in (("test", held_out), ("val", validation)):
        for name in names:
            if name not in {one.name for one in described}:
                raise unknown_name("domain to hold out", name, [one.name for one in described])
            if held.setdefault(name, split) != split:
                raise ConfigError(f"The domain {name!r} is held out for both 'val' and 'test'. Choose one of them.")
    members = {}
    for one in described:
        with of_domain(one.name):
            members[one.name] = _made(replace(one, held=held.get(one.name, "")), shared)
    _say_shared(members, held)
    return Domains(members=members, held=held, weights=weights)


def _say_shared(members: Mapping[str, Source], held: Mapping[str, str]) -> None:
    """Name, in a warning, domains that are held out and have records that another one has, too."""
    seen = {name: pool for name, source in members.items() if (pool := _prints(source)) is not None}
    for name, own in seen.items():
        for other, theirs in seen.items():
            if held.get(name) != held.get(other) and name in held and (count := int(torch.isin(own, theirs).sum())):
                _log.warning(
                    "%d of %d records of the domain %r, which is held out for %r, are in %r, too: it is no new one, "
                    "and figures look better than they are. Take them out of one of both.",
                    count, len(own), name, held[name], other,
                )  # fmt: skip


def _prints(source: Source) -> Tensor | None:
    """Fingerprints of all records of a source; None where it has no pool of them."""
    pool = source.pool if isinstance(source, ClassSource) else None
    return prints(pool.x) if isinstance(pool, TensorPool) else None


def _made(one: Described, shared: Format) -> Source:
    """The source of a domain, in the shared format."""
    known, given = one.part.parameters(), one.part.options
    extra = {name: value for name, value in asdict(shared).items() if name in known and name not in given}  # type: ignore[call-overload]
    if one.held:  # nothing need be split off what is held out whole
        extra |= {share: 0.0 for share in ("val", "test") if share in known and share not in given}
    source: Source = replace(one.part, options=given | extra).build()
    source = source.seen_as(shared)
    if one.tree:
        if not isinstance(source, ClassSource):
            raise ConfigError(f"A tree is of fixed classes, and {one.part.name!r} has none. Leave the tree out.")
        names = source.pool.listed(range(len(source.pool.counts)))
        source = replace(source, tree=read_tree(one.tree, names))
    return source.only_for(one.held) if one.held else source


def _described(words: Sequence[str]) -> list[Described]:
    """The domains that the words of the option `domains` name, in their order."""
    found: dict[str, Described] = {}
    for word in words:
        for one in _of_word(word):
            if one.name in found:
                raise ConfigError(f"Two domains are called {one.name!r}. Give each a name of its own.")
            found[one.name] = one
    return list(found.values())


def _of_word(word: str) -> list[Described]:
    if word.lstrip().startswith("{"):
        try:
            said = json.loads(word)
            name = said.pop("name")
        except (ValueError, KeyError) as error:
            raise ConfigError(f"A domain is an object with a 'name', found {word:.80}. Correct it.") from error
        return [_of_options(str(name), said, Path())]
    if Path(word).suffix.lower() in _SUFFIXES and "=" not in word:
        return [_of_options(name, said, Path(word).parent) for name, said in _read(Path(word)).items()]
    name, equals, place = word.partition("=")
    if not (name and equals and place):
        raise ConfigError(
            f"A domain is NAME=FOLDER, or a file ({', '.join(_SUFFIXES)}) that names several, found {word!r}."
        )
    return [_of_options(name, {"root": place}, Path())]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        raise DataError(f"There is no file {path}. Check the path, or write NAME=FOLDER for each domain.")
    if path.suffix.lower() == ".json":
        return read_json(path, dict[str, dict[str, Any]], _REMEDY)  # type: ignore[no-any-return]
    require_regular(path)
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as TOML: {error}. {_REMEDY}") from error
    for name, one in said.items():
        if not isinstance(one, Mapping):
            raise DataError(f"{path} has {name!r} outside of any domain. Write a table [NAME] for each domain.")
    return said


def _of_options(name: str, said: Mapping[str, Any], folder: Path) -> Described:
    """A domain of what a file in `folder` says of it, from where its places are meant."""
    given = {option: tuple(value) if isinstance(value, list) else value for option, value in said.items()}
    with of_domain(name):
        kind, held, tree = str(given.pop("tasks", "folder")), str(given.pop("held", "")), str(given.pop("tree", ""))
        part = sources.part(kind, **given)
        places = {place: str(folder / str(given[place])) for place in sources.traits(kind).places if given.get(place)}
    return Described(name, replace(part, options=given | places), held, str(folder / tree) if tree else "")
