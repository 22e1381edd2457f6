"""Several processes that train one model: who takes which tasks, and how their meta-gradients become one.

A process that is alone is a group of one, which never communicates: training knows no other difference. Launchers such
as `torchrun` tell a process its place in the environment.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine.vectorize import Gradients
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, ProcessLost, QuickstudyError, TrainingError

TIMEOUT = "QUICKSTUDY_TIMEOUT"
"""Environment variable: seconds that processes wait for each other."""
_PATIENCE = 600.0
_START = 120.0  # seconds that they wait for each other to start, at least
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Group:
    """The processes that train together, and the place of this one.

    rank: 0 … size − 1; rank 0 leads: it alone writes and speaks. handle: what torch.distributed calls a group. All
    processes must call the methods that communicate (all but `share`) in the same order. They raise ProcessLost when
    another process has ended or does not answer; `where` says in the message what was being done.
    """

    rank: int = 0
    size: int = 1
    handle: Any = field(default=None, repr=False, compare=False)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """This process's part of `indices` (T,), in order; sizes differ by at most one."""
        return indices.tensor_split(self.size)[self.rank]

    def mean(
        self, own: Callable[[], Gradients], params: Params, total: int, flags: Callable[[], list[bool]], where: str
    ) -> tuple[Gradients, list[bool]]:
        """Mean meta-gradient, losses and metrics (total,) over the tasks of all processes; which flags any raised.

        own: computes the same for this process's share of the `total` tasks. params: what of φ is moved. flags: asked
        after `own`. All of it travels in one all-reduce. Where `own` raises a QuickstudyError, every process raises,
        with its message.
        """
        if self.size == 1:
            return own(), flags()
        numels = [value.numel() for value in params.values()]
        sizes = [*numels, total, total]
        error: QuickstudyError | None = None
        try:
            mine, loss, metric = own()
        except QuickstudyError as own_error:
            error = own_error
        raised = torch.tensor([error is not None, *flags()])
        like = next(iter(params.values()))
        flat = torch.zeros(sum(sizes) + len(raised), dtype=like.dtype, device=like.device)
        flat[sum(sizes) :] = raised
        *grads, losses, metrics = torch.split(flat[: sum(sizes)], sizes)
        if error is None:
            torch.cat([mine[name].flatten() for name in params], out=flat[: sum(numels)])
            flat[: sum(numels)].mul_(len(loss) / total)
            self.share(losses).copy_(loss)
            self.share(metrics).copy_(metric)
        self._reduce(flat, where)
        failed, *seen = (flat[sum(sizes) :] > 0).tolist()
        if failed:
            self._raise_any(error, where)
        named = {
            name: grad.view_as(value).to(value.dtype) for (name, value), grad in zip(params.items(), grads, strict=True)
        }
        return (named, losses, metrics), seen

    def sum(self, values: Tensor, where: str) -> Tensor:
        """The sum over all processes of `values`, of one shape everywhere."""
        if self.size == 1:
            return values
        total = values.clone()
        self._reduce(total, where)
        return total

    def any(self, flag: bool, where: str) -> bool:
        """Whether any process raised its flag."""
        return bool(self.sum(torch.tensor(float(flag)), where) > 0)

    def gather(self, value: Any, where: str) -> list[Any]:
        """Every process's `value`, plain data, in the order of ranks."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        text = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with self._watching(where):
            dist.all_gather(lengths, torch.tensor([len(text)]), group=self.handle)
            padded = torch.zeros(int(torch.cat(lengths).max()), dtype=torch.uint8)
            padded[: len(text)] = text
            texts = [torch.zeros_like(padded) for _ in range(self.size)]
            dist.all_gather(texts, padded, group=self.handle)
        return [json.loads(bytes(t[:n].tolist())) for t, n in zip(texts, lengths, strict=True)]

    def broadcast(self, value: Any, where: str) -> Any:
        """Rank 0's `value`, plain data, on every process: a folder, or the plan that it has measured to be best."""
        return self.gather(value if self.leads else None, where)[0]

    def copy(self, tensors: Iterable[Tensor], where: str) -> None:
        """Overwrite `tensors` on every process by those of rank 0."""
        if self.size == 1:
            return
        import torch.distributed as dist

        for tensor in tensors:
            whole = tensor.detach().contiguous()
            with self._watching(where):
                dist.broadcast(whole, src=0, group=self.handle)
            tensor.detach().copy_(whole)

    def wait(self, where: str) -> None:
        """Until every process has come here."""
        self.gather(None, where)

    @contextmanager
    def together(self, where: str, leader_first: bool = False) -> Iterator[None]:
        """A QuickstudyError of one process within the block is raised by all of them.

        leader_first: the others begin when rank 0 has ended, and find what it has downloaded.
        """
        error: QuickstudyError | None = None
        if leader_first and not self.leads:
            self._raise_any(None, where)
        try:
            yield
        except QuickstudyError as own_error:
            if self.size == 1 or isinstance(own_error, ProcessLost):
                raise
            error = own_error
        if leader_first and self.leads:
            self._raise_any(error, where)
        self._raise_any(error, where)

    def _raise_any(self, error: QuickstudyError | None, where: str) -> None:
        said = self.gather(None if error is None else str(error), where)
        if error is not None:
            raise error
        for rank, text in enumerate(said):
            if text is not None:
                raise TrainingError(text if rank == 0 else f"Process {rank} of {self.size}: {text}")

    def _reduce(self, tensor: Tensor, where: str) -> None:
        import torch.distributed as dist

        with self._watching(where):
            dist.all_reduce(tensor, group=self.handle)
            if tensor.is_cuda:
                torch.cuda.synchronize(tensor.device)  # so that a failure is found here

    @contextmanager
    def _watching(self, where: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise ProcessLost(
                f"Process {self.rank} of {self.size} lost another one during {where}: it ended, or did not answer for "
                f"{patience():g} s ({_short(error)}). If it ended, look at what it or the launcher said; if it is only "
                f"slow, allow more seconds with the environment variable {TIMEOUT}."
            ) from error


def _short(error: Exception) -> str:
    """What PyTorch says, without the place in its source and the advice."""
    return str(error).split("\n")[0].split("] ", 1)[-1].split(". ")[0]


def standing() -> tuple[int, int]:
    """(rank, number of processes), as the launcher says; (0, 1) without one."""
    if any(name not in os.environ for name in _NEEDED):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", standing()[0]))


def patience() -> float:
    """Seconds that processes wait for each other."""
    text = os.environ.get(TIMEOUT, str(_PATIENCE))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e8:
        raise ConfigError(f"The environment variable {TIMEOUT} must be a positive number of seconds, found {text!r}.")
    return seconds


@cache
def join() -> Group:
    """The group of all processes that were started together; the first call waits until all of them have come."""
    rank, size = standing()
    if size == 1:
        return Group()
    import torch.distributed as dist

    if not dist.is_available():
        raise ConfigError(
            f"{size} processes were started, but this build of PyTorch cannot connect them. Start one process."
        )
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # else a lost GPU process ends this one without a word
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
    try:
        if not dist.is_initialized():  # by the user's own program
            dist.init_process_group(backend, timeout=timedelta(seconds=max(patience(), _START)))
            atexit.register(dist.destroy_process_group)
        return Group(rank, size, dist.new_group(backend=backend, timeout=timedelta(seconds=patience())))
    except RuntimeError as error:
        raise ProcessLost(
            f"Process {rank} of {size} could not meet the others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({_short(error)}). Start them together, with torchrun."
        ) from error
