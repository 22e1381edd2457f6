"""The same meta-step in JAX with optax, jitted as one function of φ and the optimizer's state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.contestants import Contestant, Gradient
from benchmarks.problems import OUTER_LR, Problem


class Jax(Contestant):
    """over: 'vmap' runs the tasks at once, 'map' one after another within the compiled function.

    Images and convolutions have their channels last, as XLA computes them on processors.
    """

    family = "JAX"

    def __init__(self, problem: Problem, over: str = "vmap") -> None:
        import jax
        import optax

        self.name, self.problem, self._jax = f"JAX, jit of {over}", problem, jax
        self._images = problem.kind == "conv4"
        self.params = {name: _to_jax(value, self._images) for name, value in problem.params.items()}
        support, query = problem.episodes
        self.data = tuple(_to_jax(t, self._images, example_axis=True) for t in (support.x, support.y, query.x, query.y))
        adam = optax.adam(OUTER_LR)
        self.state = adam.init(self.params)

        def inner(params: Any, x: Any, y: Any) -> Any:
            return _loss(problem, params, x, y)

        def task(params: Any, one: Any) -> Any:
            x, y, query_x, query_y = one
            own = params
            for _ in range(problem.steps):
                grads = jax.grad(inner)(own, x, y)
                own = jax.tree.map(lambda p, g: p - problem.lr * g, own, grads)
            return inner(own, query_x, query_y)

        def gradient(params: Any, data: Any) -> Any:
            if over == "vmap":
                return jax.grad(lambda p: jax.vmap(task, in_axes=(None, 0))(p, data).mean())(params)
            each = jax.lax.map(lambda one: jax.grad(task)(params, one), data)
            return jax.tree.map(lambda g: g.mean(0), each)

        def step(params: Any, state: Any, data: Any) -> Any:
            updates, state = adam.update(gradient(params, data), state)
            return optax.apply_updates(params, updates), state

        self._gradient = jax.jit(gradient)
        self._step = jax.jit(step, donate_argnums=(0, 1))

    def gradient(self) -> Gradient:
        found = {n: torch.from_numpy(np.array(g)) for n, g in self._gradient(self.params, self.data).items()}
        return {n: g.permute(3, 2, 0, 1) if g.dim() == 4 else g for n, g in found.items()}

    def step(self) -> None:
        self.params, self.state = self._jax.block_until_ready(self._step(self.params, self.state, self.data))


def _to_jax(value: torch.Tensor, images: bool, example_axis: bool = False) -> Any:
    """Images (T, n, C, H, W) and kernels (O, I, H, W) with channels last, everything else as it is."""
    import jax.numpy as jnp

    array = value.numpy()
    if example_axis:
        return jnp.asarray(array.transpose(0, 1, 3, 4, 2) if array.ndim == 5 else array)
    return jnp.asarray(array.transpose(2, 3, 1, 0) if images and array.ndim == 4 else array)


def _loss(problem: Problem, p: Any, x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp
    import optax

    def linear(name: str, x: Any) -> Any:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    if problem.kind == "sinusoid":
        x = jax.nn.relu(linear("linear2", jax.nn.relu(linear("linear1", x))))
        return jnp.square(linear("head", x) - y).mean()
    for block in ("block1", "block2", "block3", "block4"):
        kernel, bias = p[f"{block}.conv.weight"], p[f"{block}.conv.bias"]
        axes = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=axes) + bias
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        x = (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p[f"{block}.norm.weight"] + p[f"{block}.norm.bias"]
        x = jax.nn.relu(x)
    logits = linear("head", x.mean((1, 2)))
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
