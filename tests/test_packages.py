"""Parts of an installed package: a real distribution on the path of a real process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PARTS = """
from quickstudy.registry import sources

@sources.register("installed-tasks")
def installed_tasks(*, size: int = 3):
    \"\"\"Tasks that a package brings along.\"\"\"
"""


def _listed(installed: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(installed), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "quickstudy", "list", "tasks"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as pip fills it: a package, and what it says of itself."""
    (tmp_path / "its_package").mkdir()
    (tmp_path / "its_package" / "__init__.py").write_text("")
    (tmp_path / "its_package" / "parts.py").write_text(_PARTS)
    about = tmp_path / "its_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: its-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[quickstudy.parts]\nits_name = its_package.parts\n")
    return tmp_path


def test_the_commands_know_the_parts_of_an_installed_package(installed: Path) -> None:
    assert "Tasks that a package brings along." in _listed(installed).stdout


def test_a_package_that_cannot_be_imported_is_named_and_the_others_go_on(installed: Path) -> None:
    (installed / "its_package" / "parts.py").write_text("import no_such_module\n")
    done = _listed(installed)
    assert "its-package" in done.stderr and "no_such_module" in done.stderr
    assert "omniglot" in done.stdout
