"""Importing it imports what installed packages announce under the entry point `quickstudy.parts`.

A package writes into its pyproject.toml: [project.entry-points."quickstudy.parts"] its_name = "its_package.parts", the
module that registers its parts. One that cannot be imported is told of and left out: the others' work goes on.
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

GROUP = "quickstudy.parts"

for _point in entry_points(group=GROUP):
    try:
        _point.load()
    except Exception as error:  # whatever the package raises
        logging.getLogger("quickstudy").warning(
            "The parts of the installed package %s (%s) are left out: %s: %s. Mend or uninstall it.",
            getattr(_point.dist, "name", _point.name), _point.value, type(error).__name__, error,
        )  # fmt: skip
