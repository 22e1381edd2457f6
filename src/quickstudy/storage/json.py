"""JSON on disk: settings, facts and results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quickstudy.errors import CheckpointError, RunError
from quickstudy.storage.atomic import write_atomically


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises RunError if there is no such file, and CheckpointError if it is not JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a run or of an adapted model.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). Restore it from a copy, or train again.") from error
