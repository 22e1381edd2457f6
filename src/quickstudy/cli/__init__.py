"""The command line: parse, call, print. Each command lives in a module of its own and is imported when it is called."""

from __future__ import annotations

import importlib
import io
import logging
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout

from quickstudy.errors import ConfigError, QuickstudyError, lacks_memory, unknown_name
from quickstudy.terminal import able_to_speak, complain, finished, tell

COMMANDS = {
    "demo": "the main job from start to end: train, evaluate, learn a new alphabet, write a report",
    "train": "meta-train by a recipe; any number in it can be changed",
    "evaluate": "measure a run on tasks it has never seen",
    "tasks": "which training classes or domains help which held-out ones, and which hurt",
    "adapt": "learn a new task: a folder with one sub-folder per class, a CSV file of rows, or a time series",
    "watch": "an agent in a new environment, before and after it has learned, as an animated picture",
    "predict": "name classes, tell numbers or forecast with an adapted model",
    "score": "how good an adapted model is on labelled files: figures with intervals, each class, what it mixes up",
    "serve": "models that learn over HTTP, with a page: make, add, forget, ask, download; and Open Inference",
    "export": "write a model as ONNX, as a program of PyTorch, or as a page that learns in the browser",
    "memory": "remember solved tasks, and start new ones from the nearest: build, list, show, search, adapt, prune …",
    "average": "make one run of several, by a greedy soup or a mean",
    "partition": "train a recipe apart on parts of its classes, and average",
    "report": "write the report page of a run",
    "select": "which of several algorithms to run on which instance: measure selectors on a scenario, keep one, choose",
    "choose": "which learner, network and numbers suit these tasks: try within some minutes, and train the best",
    "search": "a network that answers within some milliseconds on this machine, found and trained",
    "reproduce": "train a recipe and measure every figure it publishes",
    "list": "list recipes, learners, models, tasks, formats, targets, selectors, strategies, pretrained models or runs",
}


def usage() -> str:
    """The text of `quickstudy --help`."""
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "quickstudy: train once over many small tasks, then learn a new one from a handful of examples.",
            "",
            "usage: quickstudy COMMAND …      (quickstudy COMMAND --help tells more)",
            "",
            *lines,
            "",
            "  --import FILE.py, on every command: a Python file that registers parts of your own (formats, targets,",
            "  tasks, models, learners), or makes a network and tasks in functions module() and source()",
            "",
            "  quickstudy adapt handwriting --support ./my-drawings/ --out ./my-model      (it comes with the package)",
            "  quickstudy train omniglot-protonet",
            "  quickstudy evaluate omniglot-protonet --ways 20 --shots 1 --episodes 1000",
            "  quickstudy adapt omniglot-protonet --support ./new-classes/ --out ./my-model",
            "  quickstudy predict ./my-model ./unsorted/*.png --out predictions.csv",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with able_to_speak():
        try:
            status = _main(arguments)
        except OSError as error:  # in printing; see `_run` for others
            return _unheard(finished() or error)
        unwritten = finished()
        return status if unwritten is None else _unheard(unwritten)


def _unheard(error: OSError) -> int:
    """The exit status where the answer could not be written; a reader that has seen enough is no mistake."""
    if isinstance(error, BrokenPipeError):
        return 0
    complain(f"quickstudy: the answer could not be written to standard output: {error.strerror}.")
    return 2


def _main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from quickstudy import __version__

        print(f"quickstudy {__version__}")
        return 0
    from quickstudy.engine.distribute import standing

    rank, size = standing()
    with _speaking(rank):
        return _run(arguments, rank, size)


def _run(arguments: Sequence[str], rank: int, size: int) -> int:
    from quickstudy.cli import own
    from quickstudy.errors import ProcessLost
    from quickstudy.training.loop import Interrupted

    command, names = arguments[0], list[str]()
    try:
        names, words = own.split(arguments)
        if not words:
            raise ConfigError(f"A command comes before or after {own.FLAG}. `quickstudy --help` shows them.")
        command, *rest = words
        if size > 1 and command in COMMANDS and command != "train":
            raise ConfigError(
                f"{size} processes were started, but only `quickstudy train` shares its work. Run "
                f"`quickstudy {command}` without the launcher."
            )
        if command not in COMMANDS:
            raise unknown_name("command", command, COMMANDS)
        module = importlib.import_module(f"quickstudy.cli.{command}_command")
        with own.imported(names):
            return int(module.run(rest) or 0)
    except QuickstudyError as error:
        _finish_speaking(size)
        if rank == 0 or isinstance(error, ProcessLost):
            _refuse(command, str(error))
        return 2
    except (MemoryError, RecursionError, UnicodeError) as error:
        return _refuse(command, _of_the_machine(error))
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
        return _refuse(command, _of_the_machine(MemoryError()))
    except OSError as error:
        if error.filename is None:
            raise
        return _refuse(command, f"{error.filename} cannot be used: {error.strerror}.")
    except Interrupted as stopped:
        _finish_speaking(size)
        go_on = own.proposed("train --resume", stopped.folder, names=names)
        tell("", f"Stopped and saved after step {stopped.step}. Go on with: {go_on}")
        return 130
    except KeyboardInterrupt:
        complain("", "Interrupted.")
        return 130


def _refuse(command: str, why: str) -> int:
    complain(f"quickstudy {command}: {why}")
    return 2


def _of_the_machine(error: Exception) -> str:
    """What to do where Python gave up."""
    if isinstance(error, MemoryError):
        return (
            "There is not enough memory for this. Take fewer or smaller examples, smaller tasks (--ways, --shots), "
            "fewer of them at once (--meta-batch), or a smaller network."
        )
    if isinstance(error, RecursionError):
        return "Something that was read is nested too deeply to be of quickstudy. Restore the file from a copy."
    return f"A text that was read is not in its encoding ({error}). Save it as UTF-8."


class _Spoken(logging.Handler):
    """Log records for people, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


@contextmanager
def _speaking(rank: int) -> Iterator[None]:
    """Within it, what quickstudy logs is told to the user. Of several processes, the leading one speaks for all."""
    log, handler = logging.getLogger("quickstudy"), _Spoken()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()) if rank > 0 else nullcontext(), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: complain(f"Warning: {message}") if rank == 0 else None
            yield
    finally:
        log.setLevel(before)
        log.removeHandler(handler)


def _finish_speaking(size: int) -> None:
    """Let a launcher, which ends all of several processes as soon as one has ended, not cut this one's last words."""
    if size > 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
