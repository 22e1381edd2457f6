"""Modules of the page, run by node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIB = ROOT / "src" / "quickstudy" / "web" / "lib"
NODE = shutil.which("node")


def wasm() -> Path | None:
    """The folder of onnxruntime-web's files, where it is installed: `$QUICKSTUDY_WASM`, or what `make` puts there."""
    places = [ROOT / ".web" / "node_modules" / "onnxruntime-web" / "dist"]
    if told := os.environ.get("QUICKSTUDY_WASM"):
        places.insert(0, Path(told))
    return next((place.resolve() for place in places if (place / "ort.wasm.min.mjs").is_file()), None)


def node(folder: Path, script: str, **given: Any) -> Any:
    """What `script`, the body of an async function, returns as JSON. In it, `given` has what is given, `lib(name)` is
    a module of the page, `fs` is node's, and the working folder is `folder`."""
    assert NODE is not None, "node is not installed"
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "run.mjs").write_text(
        'import fs from "node:fs";\n'
        f'const lib = (name) => import("{LIB.as_uri()}/" + name);\n'
        'const given = JSON.parse(fs.readFileSync("given.json", "utf8"));\n'
        f"const run = async () => {{\n{script}\n}};\n"
        'fs.writeFileSync("found.json", JSON.stringify((await run()) ?? null));\n'
    )
    done = subprocess.run([NODE, "run.mjs"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())
