"""Gaussian processes against closed forms, finite differences and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from quickstudy.select.warm.acquire import log_improvement
from quickstudy.select.warm.losses import in_units, normalised
from quickstudy.select.warm.process import Data, Kernel, Prior, Process, fit_kernel, negative_evidence

RNG = np.random.default_rng(0)
X = RNG.random((20, 3))
Y = np.stack([np.sin(4 * X[:, 0]) + X[:, 1], X[:, 2] ** 2], axis=1)
BASIS = RNG.standard_normal((20, 2))
KERNEL = Kernel(np.array([0.5, 0.8, 1.5]), 1.3, 0.01, 0.7)


def test_the_gradient_of_the_evidence_is_that_of_finite_differences() -> None:
    log = 0.3 * RNG.standard_normal(6)
    data = [Data(X, Y, BASIS), Data(X[:7], Y[:7, :1], BASIS[:7])]
    _, slope = negative_evidence(log, data, Prior.vague(3, True))
    step = 1e-5
    for i, one in enumerate(np.eye(6) * step):
        there, back = (negative_evidence(log + sign * one, data, Prior.vague(3, True))[0] for sign in (1, -1))
        assert slope[i] == pytest.approx((there - back) / (2 * step), rel=1e-5)


def test_the_evidence_is_that_of_the_normal_distribution() -> None:
    from scipy.stats import multivariate_normal

    log = np.log([*KERNEL.scales, KERNEL.variance, KERNEL.noise])
    flat = Prior(np.zeros(5), np.full(5, 1e9))
    k = KERNEL(X, X) + (KERNEL.noise + 1e-9) * np.eye(20)
    wanted = -multivariate_normal(np.zeros(20), k).logpdf(Y[:, 0]) - 10 * math.log(2 * math.pi)
    assert negative_evidence(log, [Data(X, Y[:, :1])], flat)[0] == pytest.approx(wanted)


@pytest.mark.parametrize("basis", [None, BASIS])
def test_predictions_are_conditional_normals(basis: np.ndarray | None) -> None:
    known, asked = slice(0, 15), slice(15, 20)
    pick = lambda rows: None if basis is None else basis[rows]  # noqa: E731
    process = Process.of(KERNEL, Data(X[known], Y[known], pick(known)))
    k = KERNEL(X, X, basis, basis)
    inside = np.linalg.inv(k[known, known] + (KERNEL.noise + 1e-9) * np.eye(15))
    covariance = k[asked, asked] - k[asked, known] @ inside @ k[known, asked]
    mean, deviation = process.predict(X[asked], pick(asked))
    assert np.allclose(mean, k[asked, known] @ inside @ Y[known])
    assert np.allclose(mean, process.mean(X[asked], pick(asked)))
    assert np.allclose(deviation**2, np.diag(covariance))
    if basis is None:
        assert np.allclose(process.covariance(X[asked]), covariance)


def test_leaving_out_is_predicting_from_the_others() -> None:
    mean, deviation = Process.of(KERNEL, Data(X, Y)).left_out()
    for i in range(3):
        rest = np.arange(20) != i
        m, d = Process.of(KERNEL, Data(X[rest], Y[rest])).predict(X[[i]])
        assert np.allclose(mean[i], m[0])
        assert deviation[i] ** 2 == pytest.approx(d[0] ** 2 + KERNEL.noise + 1e-9)


def test_a_fitted_kernel_finds_the_column_that_matters() -> None:
    x = RNG.random((60, 2))
    y = np.sin(9 * x[:, :1])
    kernel = fit_kernel([Data(x, (y - y.mean()) / y.std())])
    assert kernel.scales[0] < 0.3 * kernel.scales[1]
    assert kernel.noise < 0.01


def test_expected_improvement_is_an_expectation() -> None:
    draws = RNG.standard_normal(400_000)
    for mean, deviation in ((0.0, 1.0), (1.0, 0.5), (-2.0, 0.3)):
        wanted = np.maximum(0.2 - (mean + deviation * draws), 0).mean()
        found = np.exp(log_improvement(np.array([mean]), np.array([deviation]), 0.2))[0]
        assert found == pytest.approx(wanted, rel=0.05, abs=1e-4)
    steps = log_improvement(np.linspace(0, 60, 2001), np.ones(2001), 0.0)
    assert np.isfinite(steps).all()
    assert (np.diff(steps) < 0).all()
    assert np.abs(np.diff(steps, 2)).max() < 0.01  # no step where the expansion begins


def test_units_of_losses() -> None:
    losses = np.array([[5.0, 1.0], [1.0, 1.0], [3.0, 1.0], [900.0, 1.0]])
    for scale in ("plain", "bent", "ranks"):
        units = in_units(losses, scale)
        assert np.allclose(units.mean(axis=0), 0)
        assert np.allclose(units.std(axis=0), [1, 0])
        assert np.argsort(units[:, 0]).tolist() == [1, 2, 0, 3]
        assert np.allclose(in_units(7 + 3 * losses, scale), units)
    assert np.allclose(in_units(losses**3, "ranks"), in_units(losses, "ranks"))
    assert normalised(losses).tolist() == [[4 / 899, 0], [0, 0], [2 / 899, 0], [1, 0]]


def test_one_trial_that_diverged_hides_no_other() -> None:
    losses = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
    for far in (1e9, 1e30):
        units = in_units(np.append(losses[:5], far), "bent")
        assert np.diff(np.sort(units)).min() > 0.01
    half = in_units(np.array([0.0, 0.0, 0.0, 1.0, 2.0]), "bent")
    assert half[3] < half[4] < 2 * half[3] - half[0]
    assert np.isfinite(half).all()


def test_units_do_not_depend_on_the_unit_of_losses() -> None:
    for losses in (np.array([0.3, 0.1, 0.7, 0.9]), np.array([0.0, 0.0, 0.0, 1.0, 2.0])):
        for scale in ("plain", "bent", "ranks"):
            for unit in (1e-15, 1e9):
                np.testing.assert_allclose(
                    in_units(unit * losses, scale), in_units(losses, scale), rtol=1e-9, atol=1e-12
                )
    assert in_units(np.array([0.3, 0.1 + 0.2]), "plain").tolist() == [0, 0]  # the same but for rounding
