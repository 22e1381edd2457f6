"""Scenarios of ASlib (Bischl et al. 2016), read as they are: a folder, or a zip file with one in it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import DataError, MissingExtra, first_of
from quickstudy.files import require_regular
from quickstudy.select.arff import Arff, read_arff
from quickstudy.select.scenario import Array, Scenario, Step
from quickstudy.storage.archive import archive

DESCRIPTION, RUNS, VALUES, COSTS, STATUS, FOLDS = (
    "description.txt", "algorithm_runs.arff", "feature_values.arff", "feature_costs.arff", "feature_runstatus.arff",
    "cv.arff",
)  # fmt: skip
_UNKNOWN = (None, "?", "")
_log = logging.getLogger("quickstudy")


def read_scenario(place: str | Path) -> Scenario:
    """The scenario at `place`: a folder with ASlib's files, or a zip file that holds one such folder.

    description.txt, algorithm_runs.arff and feature_values.arff are needed. Without feature_costs.arff, features cost
    nothing; without cv.arff, ten folds are drawn; both are said. Where runs or features are repeated, times are their
    median, features their mean, a status the most common one. The first repetition of cv.arff counts. Instances and
    algorithms are in the order of their names, features in that of their file. Needs the extra 'select'.

    Raises DataError, naming the file and the line, for what is missing or contradicts itself.
    """
    with _opened(Path(place)) as (read, there):
        return _built(read, there, str(place))


@contextmanager
def _opened(place: Path) -> Iterator[tuple[Callable[[str], str], Callable[[str], bool]]]:
    """How to read a file of the scenario as text, and whether it is there."""
    if place.is_dir():
        _require_description((place / DESCRIPTION).is_file(), place)

        def text(name: str) -> str:
            require_regular(place / name)
            return _decoded((place / name).read_bytes(), f"{place / name}")

        yield text, lambda name: (place / name).is_file()
        return
    with archive(place) as packed:
        homes = [name.removesuffix(DESCRIPTION) for name in packed.members if Path(name).name == DESCRIPTION]
        _require_description(bool(homes), place)
        if len(homes) > 1:
            raise DataError(f"{place} holds {len(homes)} scenarios ({first_of(homes)}). Unpack it, and give a folder.")
        yield (
            lambda name: _decoded(packed.read(homes[0] + name), f"{name} in {place}"),
            lambda name: homes[0] + name in packed.members,
        )


def _require_description(there: bool, place: Path) -> None:
    if not there:
        raise DataError(
            f"{place} is no scenario of ASlib: there is no {DESCRIPTION}. Give the folder, or the zip file, that holds "
            f"{DESCRIPTION}, {RUNS} and {VALUES}."
        )


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not in UTF-8 ({error}). Save it as UTF-8.") from error


def _built(read: Callable[[str], str], there: Callable[[str], bool], place: str) -> Scenario:
    told = _described(read(DESCRIPTION), f"{DESCRIPTION} in {place}")
    for name in (RUNS, VALUES):
        if not there(name):
            raise DataError(f"{place} lacks {name}, without which nothing can be learned. Restore it.")

    def arff(name: str) -> Arff:
        return read_arff(read(name), f"{name} in {place}")

    cutoff = _cutoff(told, place)
    instances, algorithms, times, finished = _runs(arff(RUNS), told, cutoff)
    features, x = _features(arff(VALUES), instances)
    steps = _steps(told, features)
    costs = _costs(arff(COSTS), instances, steps) if there(COSTS) else np.zeros((len(instances), len(steps)))
    if not there(COSTS):
        _log.warning("%s lacks %s: its features are taken to cost nothing.", place, COSTS)
    folds = _folds(arff(FOLDS), instances) if there(FOLDS) else _drawn_folds(len(instances))
    if not there(FOLDS):
        _log.warning("%s lacks %s: ten folds are drawn, the same each time, but not official.", place, FOLDS)
    name = str(told.get("scenario_id") or Path(place).stem)
    return Scenario(name, instances, algorithms, features, x, times, finished, cutoff, steps, costs, folds)


def _described(text: str, place: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("pyyaml", "select", "Reading scenarios of ASlib") from error
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{place} is no YAML ({str(error)[:200]}). Restore it.") from error
    if not isinstance(told, dict):
        raise DataError(f"{place} is no list of names and values. Restore it.")
    return told


def _first(value: Any) -> Any:
    """Of a list its first entry; descriptions write one value both ways."""
    return value[0] if isinstance(value, list) and value else value


def _cutoff(told: Mapping[str, Any], place: str) -> float:
    """Seconds; infinite where no time is measured."""
    kind, seconds = _first(told.get("performance_type")), told.get("algorithm_cutoff_time")
    if kind == "solution_quality":
        return np.inf
    if kind != "runtime":
        raise DataError(f"{place} measures {kind!r}, and 'runtime' and 'solution_quality' are known. Correct it.")
    try:
        return float(str(seconds))
    except ValueError as error:
        raise DataError(
            f"{DESCRIPTION} in {place} says algorithm_cutoff_time: {seconds!r}, expected seconds. Correct it."
        ) from error


def _runs(
    table: Arff, told: Mapping[str, Any], cutoff: float
) -> tuple[tuple[str, ...], tuple[str, ...], Array, NDArray[np.bool_]]:
    """Instances, algorithms, times and what finished."""
    measure = _first(told.get("performance_measures"))
    if not isinstance(measure, str):
        raise DataError(f"The description beside {table.place} names no performance_measures. Restore it.")
    statuses = [status.lower() for status in table.texts("runstatus")]
    values = table.numbers(measure)
    found: dict[tuple[str, str], list[int]] = {}
    for place, key in enumerate(zip(table.texts("instance_id"), table.texts("algorithm"), strict=True)):
        found.setdefault(key, []).append(place)
    instances, algorithms = (tuple(sorted({key[i] for key in found})) for i in (0, 1))
    lost = [f"{a} on {i}" for i in instances for a in algorithms if (i, a) not in found]
    if lost:
        raise DataError(f"{table.place} lacks {len(lost)} runs: {first_of(lost)}. Add them, as time-outs if need be.")
    times, finished = np.full((len(instances), len(algorithms)), np.nan), np.zeros((len(instances), len(algorithms)))
    sign = -1.0 if _first(told.get("maximize")) in (True, "true", "yes") else 1.0
    if sign < 0 and np.isfinite(cutoff):
        raise DataError(f"The description beside {table.place} says that run times are to be large. Correct maximize.")
    for row, instance in enumerate(instances):
        for column, algorithm in enumerate(algorithms):
            places = found[instance, algorithm]
            well = Counter(statuses[p] for p in places).most_common(1)[0][0] == "ok"
            value = float(np.median(values[places]))
            if well and np.isnan(value):
                raise DataError(
                    f"{table.place}, line {table.lines[places[0]]}: a run that ended well has no {measure!r}. Add it."
                )
            times[row, column], finished[row, column] = sign * value, well and value <= cutoff
    return instances, algorithms, times, finished.astype(bool)


def _grouped(table: Arff, instances: tuple[str, ...], merge: Callable[[Array], Array]) -> tuple[tuple[str, ...], Array]:
    """The columns after instance and repetition, by name, and their values of each instance, (n, columns)."""
    apart = {table.column("instance_id"), table.column("repetition")}
    names = tuple(name for i, name in enumerate(table.names) if i not in apart)
    values = np.stack([table.numbers(name) for name in names], 1) if names else np.zeros((len(table.rows), 0))
    places: dict[str, list[int]] = {}
    for place, name in enumerate(table.texts("instance_id")):
        places.setdefault(name, []).append(place)
    if strange := sorted(places.keys() - set(instances)):
        _log.warning("%s tells of instances without runs, which are left out: %s.", table.place, first_of(strange))
    if lost := [name for name in instances if name not in places]:
        _log.warning(
            "%s says nothing of %d instances (%s), for which all of it counts as missing.",
            table.place, len(lost), first_of(lost),
        )  # fmt: skip
    nothing = np.full(len(names), np.nan)
    rows = [merge(values[places[name]]) if name in places else nothing for name in instances]
    return names, np.stack(rows)


def _mean(values: Array) -> Array:
    """Over what is there, (columns,)."""
    count = (~np.isnan(values)).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def _features(table: Arff, instances: tuple[str, ...]) -> tuple[tuple[str, ...], Array]:
    return _grouped(table, instances, _mean)


def _steps(told: Mapping[str, Any], features: tuple[str, ...]) -> dict[str, Step]:
    """The feature steps; without any, all features are one step."""
    steps = told.get("feature_steps")
    if not isinstance(steps, dict) or not steps:
        return {"all": Step(features)}
    return {str(name): Step(_listed(step, "provides"), _listed(step, "requires")) for name, step in steps.items()}


def _listed(step: Any, what: str) -> tuple[str, ...]:
    value = step.get(what) if isinstance(step, dict) else None
    several = value if isinstance(value, list) else [value]
    return tuple(str(one) for one in several if one not in _UNKNOWN)


def _costs(table: Arff, instances: tuple[str, ...], steps: Mapping[str, Step]) -> Array:
    """Seconds of each step, (n, steps): the median of repetitions, with 0 for what is missing."""
    names, costs = _grouped(table, instances, lambda values: np.median(np.nan_to_num(values), axis=0))
    if lost := [step for step in steps if step not in names]:
        raise DataError(f"{table.place} has no costs of the feature steps {first_of(lost)}. Add them.")
    if (costs < 0).any():
        raise DataError(f"{table.place} holds costs below 0, as of {instances[int(np.argwhere(costs < 0)[0][0])]}.")
    return costs[:, [names.index(step) for step in steps]]


def _folds(table: Arff, instances: tuple[str, ...]) -> NDArray[np.int64]:
    said: dict[str, float] = {}
    triples = zip(table.texts("instance_id"), table.numbers("repetition"), table.numbers("fold"), strict=True)
    for (name, repetition, fold), line in zip(triples, table.lines, strict=True):
        if repetition != 1:
            continue
        if not (fold >= 1 and fold == int(fold)):
            raise DataError(f"{table.place}, line {line}: the fold is {fold}, expected 1, 2, … Correct it.")
        if said.setdefault(name, fold) != fold:
            raise DataError(f"{table.place}, line {line}: {name} is in two folds. Correct it.")
    if lost := [name for name in instances if name not in said]:
        raise DataError(f"{table.place} puts {len(lost)} instances into no fold: {first_of(lost)}. Add them.")
    return np.array([int(said[name]) for name in instances])


def _drawn_folds(count: int) -> NDArray[np.int64]:
    folds = np.arange(count) % min(10, count) + 1
    return np.random.default_rng(0).permutation(folds)
