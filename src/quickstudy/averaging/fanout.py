"""The same function for many independent jobs: here, over processes, or over a cluster. joblib does the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from quickstudy.errors import MissingExtra

Backend = Literal["loop", "processes", "ray"]
"""'loop': one after another, here. 'processes': joblib's own, on this machine. 'ray': on the cluster that Ray knows."""
R = TypeVar("R")
Outcome = tuple[str, R | None, str]
"""A job's name, its result, and what went wrong ('' if nothing did)."""
_log = logging.getLogger(__name__)


def fan_out(
    function: Callable[..., R], jobs: Mapping[str, tuple[Any, ...]], backend: Backend, workers: int
) -> dict[str, R]:
    """`function(*arguments)` for each named job; results by name, in the order of `jobs`.

    A job that fails, or whose process dies, is tried once more, alone; then it is left out, and a warning names it.
    workers: processes at once. Raises MissingExtra without joblib (or Ray).
    """
    results, trouble = _attempt(function, jobs, backend, workers)
    for name in [name for name in jobs if name not in results]:
        _log.warning("%s failed (%s) and is tried once more.", name, trouble[name])
        again, still = _attempt(function, {name: jobs[name]}, backend, workers)
        results |= again
        if name not in again:
            _log.warning("%s failed again (%s): the others go on without it.", name, still[name])
    return {name: results[name] for name in jobs if name in results}


def _attempt(
    function: Callable[..., R], jobs: Mapping[str, tuple[Any, ...]], backend: Backend, workers: int
) -> tuple[dict[str, R], dict[str, str]]:
    """The results that came, and what went wrong with the others."""
    results: dict[str, R] = {}
    trouble: dict[str, str] = {}
    if backend == "loop":
        outcomes: Iterator[Outcome[R]] = (_one(function, name, job) for name, job in jobs.items())
        deaths: tuple[type[Exception], ...] = ()
    else:
        joblib, deaths = _prepared(backend)
        outcomes = _parallel(joblib, function, jobs, backend, workers)
    lost = "its process died"
    try:
        for name, result, error in outcomes:
            if error:
                trouble[name] = error
            else:
                results[name] = result  # type: ignore[assignment]
    except deaths as error:
        lost = f"its process died: {type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return results, dict.fromkeys(jobs, lost) | trouble


def _one(function: Callable[..., R], name: str, arguments: tuple[Any, ...]) -> Outcome[R]:
    """A failure is an outcome like another: it must not end the jobs beside it."""
    try:
        return name, function(*arguments), ""
    except Exception as error:
        return name, None, f"{type(error).__name__}: {error}"


def _prepared(backend: Backend) -> tuple[Any, tuple[type[Exception], ...]]:
    """joblib, ready for the backend, and what the backend raises when a process of its own is gone."""
    try:
        import joblib
    except ImportError as error:
        raise MissingExtra("joblib", "cluster", "Training members in other processes") from error
    if backend == "processes":
        from concurrent.futures.process import BrokenProcessPool

        return joblib, (BrokenProcessPool,)  # of which joblib's TerminatedWorkerError is one
    try:
        from ray.exceptions import RayError
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise MissingExtra("ray", "cluster", "Training members on a cluster") from error
    register_ray()
    return joblib, (RayError,)


def _parallel(
    joblib: Any, function: Callable[..., R], jobs: Mapping[str, tuple[Any, ...]], backend: Backend, workers: int
) -> Iterator[Outcome[R]]:
    with joblib.parallel_config("ray" if backend == "ray" else "loky"):
        # With one worker joblib runs jobs in this process, and a death there would be ours. Ray's backend gives no
        # generators, so that where a worker of it dies, the others' results of that attempt are lost too.
        how = "list" if backend == "ray" else "generator_unordered"
        parallel = joblib.Parallel(n_jobs=max(2, workers), batch_size=1, return_as=how)
        yield from parallel(joblib.delayed(_one)(function, name, job) for name, job in jobs.items())
