"""Muon: orthogonal updates for weights, Adam for the rest."""

import pytest
import torch

from quickstudy.training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (4, 30), (30, 4)])
def test_orthogonalised_keeps_singular_vectors_and_evens_out_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonalised(matrix) @ vh.T
    values = inside.diagonal()
    assert torch.allclose(inside, values.diag(), atol=1e-9)
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3


def test_a_convolution_moves_like_the_same_matrix_in_any_layout() -> None:
    generator = torch.Generator().manual_seed(0)
    start, grad = (torch.randn(8, 4, 3, 3, generator=generator) for _ in range(2))
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        value = start.clone(memory_format=layout)
        value.grad = grad.clone(memory_format=layout)
        Muon([value], lr=0.1).step()
        ends.append(value)
    matrix = start.flatten(1).clone()
    matrix.grad = grad.flatten(1)
    Muon([matrix], lr=0.1).step()
    assert torch.allclose(ends[0], ends[1], atol=1e-5)
    assert torch.allclose(ends[0].flatten(1), matrix, atol=1e-5)


def test_what_is_no_matrix_moves_by_adam() -> None:
    bias = torch.tensor([1.0, -2.0, 3.0])
    twin = bias.clone()
    ours, theirs = Muon([bias], lr=0.1), torch.optim.Adam([twin], lr=0.1, betas=(0.9, 0.99))
    for k in range(4):
        bias.grad = twin.grad = torch.tensor([0.1, -0.2, 3.0]) * (k + 1)
        ours.step()
        theirs.step()
    assert torch.allclose(bias, twin, atol=1e-6)


def test_weight_decay_shrinks_weights() -> None:
    value = torch.ones(4, 20)
    value.grad = torch.zeros_like(value)
    Muon([value], lr=0.1, matrix_rate=2.0, weight_decay=0.5).step()
    assert torch.allclose(value, torch.full_like(value, 0.9))
