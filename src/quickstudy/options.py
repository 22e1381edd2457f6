"""Options as words of a command line: names and values in turn."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from quickstudy.errors import ConfigError


def pairs(where: str, words: Sequence[str]) -> dict[str, Any]:
    """The options that `words`, names and values in turn, give. where: the words stand, for messages.

    >>> pairs("--optimizer-options", ["betas", "[0.9, 0.99]", "amsgrad", "true", "schedule", "cos"])
    {'betas': (0.9, 0.99), 'amsgrad': True, 'schedule': 'cos'}
    """
    if len(words) % 2:
        raise ConfigError(
            f"{where} takes names and values in turn, found {' '.join(words)}. "
            'Put quotes around a list: betas "[0.9, 0.99]".'
        )
    return {option: read(text) for option, text in zip(words[::2], words[1::2], strict=True)}


def read(text: str) -> Any:
    """The value that `text` writes in JSON or in Python; otherwise the text itself, such as cos."""
    for reading in (json.loads, ast.literal_eval):
        try:
            value = reading(text)
        except (ValueError, SyntaxError):
            continue
        return tuple(value) if isinstance(value, list) else value
    return text
