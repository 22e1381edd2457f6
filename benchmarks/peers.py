"""The same meta-step by hand in PyTorch, and by the libraries `higher` and `torchopt`."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contestants import Contestant, Gradient, Outer, WithModule
from benchmarks.problems import Problem


class PlainLoop(Contestant):
    """One task after another, by `torch.autograd.grad` with create_graph, the network written as a function."""

    name, family = "PyTorch by hand", "PyTorch"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.params = {name: value.clone().requires_grad_() for name, value in problem.params.items()}
        self.outer = Outer(list(self.params.values()))
        support, query = problem.episodes
        self.tasks = list(zip(support.x, support.y, query.x, query.y, strict=True))

    def _loss(self, p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        if self.problem.kind == "sinusoid":
            x = F.relu(F.linear(x, p["linear1.weight"], p["linear1.bias"]))
            x = F.relu(F.linear(x, p["linear2.weight"], p["linear2.bias"]))
            return F.mse_loss(F.linear(x, p["head.weight"], p["head.bias"]), y)
        stride = 1 if self.problem.pool else 2
        for block in ("block1", "block2", "block3", "block4"):
            x = F.conv2d(x, p[f"{block}.conv.weight"], p[f"{block}.conv.bias"], stride, 1)
            x = F.batch_norm(x, None, None, p[f"{block}.norm.weight"], p[f"{block}.norm.bias"], training=True)
            x = F.relu(x)
            x = F.max_pool2d(x, 2) if self.problem.pool else x
        x = x.flatten(1) if self.problem.pool else x.mean((2, 3))
        return F.cross_entropy(F.linear(x, p["head.weight"], p["head.bias"]), y)

    def _gradients(self) -> list[Tensor]:
        leaves = list(self.params.values())
        total: list[Tensor] = []
        for x, y, query_x, query_y in self.tasks:
            task = self.params
            for _ in range(self.problem.steps):
                grads = torch.autograd.grad(self._loss(task, x, y), list(task.values()), create_graph=True)
                task = {n: p - self.problem.lr * g for (n, p), g in zip(task.items(), grads, strict=True)}
            loss = self._loss(task, query_x, query_y) / len(self.tasks)
            found = list(torch.autograd.grad(loss, leaves))
            if total:
                torch._foreach_add_(total, found)
            else:
                total = found
        return total

    def gradient(self) -> Gradient:
        return dict(zip(self.params, self._gradients(), strict=True))

    def step(self) -> None:
        self.outer.step(self._gradients())


class Vmapped(PlainLoop):
    """All tasks at once, by `torch.func`. Networks without BatchNorm only: its second derivatives are wrong."""

    name = "PyTorch by hand, vmap"

    def _gradients(self) -> list[Tensor]:
        def task(params: dict[str, Tensor], x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            own = params
            for _ in range(self.problem.steps):
                grads = torch.func.grad(self._loss)(own, x, y)
                own = {n: p - self.problem.lr * grads[n] for n, p in own.items()}
            return self._loss(own, query_x, query_y)

        support, query = self.problem.episodes
        losses = torch.func.vmap(task, in_dims=(None, 0, 0, 0, 0))(self.params, support.x, support.y, query.x, query.y)
        return list(torch.autograd.grad(losses.mean(), list(self.params.values())))


class Higher(WithModule):
    """As in the examples of higher: `innerloop_ctx` with copy_initial_weights=False, one backward for each task."""

    name = "higher"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.inner = torch.optim.SGD(self.module.parameters(), lr=problem.lr)

    def backward(self) -> None:
        import higher

        for x, y, query_x, query_y in self.tasks:
            with higher.innerloop_ctx(self.module, self.inner, copy_initial_weights=False) as (network, inner):
                for _ in range(self.problem.steps):
                    inner.step(self.loss(network(x), y))
                (self.loss(network(query_x), query_y) / len(self.tasks)).backward()


class TorchOpt(WithModule):
    """As in the examples of torchopt: MetaSGD; its state and the network's are put back after each task."""

    name = "torchopt"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchopt
        self.torchopt = torchopt
        self.inner = torchopt.MetaSGD(self.module, lr=problem.lr)

    def backward(self) -> None:
        opt = self.torchopt
        network = opt.extract_state_dict(self.module, by="reference", detach_buffers=True)
        state = opt.extract_state_dict(self.inner, by="reference")
        for x, y, query_x, query_y in self.tasks:
            for _ in range(self.problem.steps):
                self.inner.step(self.loss(self.module(x), y))
            (self.loss(self.module(query_x), query_y) / len(self.tasks)).backward()
            opt.recover_state_dict(self.module, network)
            opt.recover_state_dict(self.inner, state)


PEERS = {peer.name: peer for peer in (PlainLoop, Vmapped, Higher, TorchOpt)}
