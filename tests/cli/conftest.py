"""The folder that a new user works in, and the command that they call there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from new_user import RECIPE, Command, photo, write_photos


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder a new user works in: ./photos, ./new-classes, ./unsorted and ./my_recipe.py."""
    folder = tmp_path_factory.mktemp("home")
    write_photos(folder / "photos", range(16), 6)
    write_photos(folder / "new-classes", range(20, 23), 2)
    (folder / "unsorted").mkdir()
    for kind in range(20, 23):
        for number in (7, 8):
            photo(kind, number).save(folder / "unsorted" / f"kind{kind:02d}-{number}.png")
    (folder / "my_recipe.py").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def quickstudy(home: Path) -> Command:
    """Run the installed command in the user's folder, as in a shell."""
    installed = Path(sysconfig.get_path("scripts")) / "quickstudy"
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "quickstudy"]
    clean = {n: v for n, v in os.environ.items() if not n.startswith("QUICKSTUDY_")}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        environment = clean | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(home / "cache"), "QS": " ".join(command)}
        return subprocess.run(f"$QS {line}", shell=True, cwd=home, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def photo_run(quickstudy: Command) -> subprocess.CompletedProcess[str]:
    """runs/mine: the user's own recipe on the user's own photos."""
    return quickstudy(
        "train my_recipe --tasks folder --tasks.root ./photos --tasks.size 16 --ways 3 --shots 1 --no-report"
    )


@pytest.fixture
def there(home: Path, photo_run: subprocess.CompletedProcess[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the new user's folder, after training."""
    assert photo_run.returncode == 0, photo_run.stderr
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "200")
    return home
