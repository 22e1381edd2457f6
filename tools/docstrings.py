"""Docstrings as Markdown, for the reference: what is said of each parameter becomes a list, and examples code."""

from __future__ import annotations

import re
from typing import Any

import griffe


def parameters_listed(text: str, names: set[str]) -> str:
    """`a: of this. b, c: of that.` becomes a list, where a, b and c are names of parameters; what is raised follows."""
    name = "(?:" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")"
    pattern = rf"(?:(?<=^)|(?<=\n)|(?<=[.;)] )|(?<=[.;)]\n))({name}(?:, {name})*): "
    paragraphs = []
    for paragraph in text.split("\n\n"):
        first, *rest = re.split(pattern, paragraph)
        if not rest:
            paragraphs.append(paragraph)
            continue
        rest[-1], raises, errors = rest[-1].partition("Raises ")
        items = [f"- {coded(who)}: {' '.join(what.split())}" for who, what in zip(rest[::2], rest[1::2], strict=True)]
        paragraphs += [first.strip(), "\n".join(items), raises + errors]
    return "\n\n".join(filter(None, paragraphs))


def coded(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def said(text: str, names: set[str]) -> str:
    """What is no example: signs of HTML are shown as they are."""
    text = re.sub(r"`[^`]*`|<", lambda found: "&lt;" if found[0] == "<" else found[0], text)
    return parameters_listed(text, names) if names else text


def fenced(text: str) -> str:
    """Lines that begin with >>> and what they print, as a block of code."""
    return "```pycon\n" + re.sub(r"  # doctest: [+\w, ]+", "", text) + "\n```"


def as_markdown(text: str, names: set[str]) -> str:
    parts = [part.strip() for part in re.split(r"(?m)(^>>> [\s\S]*?(?=\n\n|\Z))", text) if part.strip()]
    return "\n\n".join(fenced(part) if part.startswith(">>> ") else said(part, names) for part in parts)


class Docstrings(griffe.Extension):
    """Turns the docstring of each function and class when it is read."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        turn(func, {parameter.name for parameter in func.parameters})

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        turn(cls, {name for name, member in cls.members.items() if isinstance(member, griffe.Attribute)})


def turn(thing: griffe.Object, names: set[str]) -> None:
    if thing.docstring:
        thing.docstring.value = as_markdown(thing.docstring.value, names)
