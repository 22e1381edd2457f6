"""Series: what is drawn, what a task sees of it and in which units, and files of the user's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import numbers
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.registry import formats
from quickstudy.targets.distribution import Distribution
from quickstudy.tasks import recorded, series, series_csv
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.series import SeriesSource, autoregressive, coefficients
from quickstudy.testing import check_source


def seen_examples(values: Any, format: Any) -> Examples:
    """The support set of the seen values of one series."""
    stored = format.store(values).x
    x, y = format.examples(stored, None, format.prepare(stored))
    return Examples(x, y, torch.ones(len(y), dtype=torch.bool))


MANY = torch.arange(2000)
FIVE = Sampling(ways=1, shots=4, queries=5)


@pytest.mark.parametrize("kind", ["lines", "ar", "sines"])
@pytest.mark.parametrize("normalise", [True, False])
def test_series_keep_the_contract_of_sources(kind: Any, normalise: bool) -> None:
    source = series(kind=kind, normalise=normalise)
    check_source(source)
    check_source(source.sampled(Sampling(ways=1, shots=6, queries=3, min_shots=2)))


def test_lines_are_straight_and_cover_their_slopes_and_heights() -> None:
    values = series(kind="lines").values("train", MANY)
    start, slope = values[:, 0], values[:, 1] - values[:, 0]
    torch.testing.assert_close(values.diff(dim=1), slope[:, None].expand(-1, values.shape[1] - 1), atol=1e-5, rtol=1e-4)
    for drawn in (start, slope):
        assert -1 <= drawn.min() < -0.99 and 0.99 < drawn.max() <= 1
        assert drawn.std() == pytest.approx(3**-0.5, abs=0.02)


def test_sums_of_sines_are_bounded_and_have_one_to_three_parts() -> None:
    source = series(kind="sines").sampled(Sampling(ways=1, shots=400, queries=1))
    values = source.values("train", torch.arange(300))
    assert 1 < values.abs().max() <= 3
    power = torch.fft.rfft(values.double() * torch.hann_window(402, periodic=False), dim=1).abs().square()
    frequency = torch.arange(power.shape[1]) / 402
    outside = (frequency < 1 / 25) | (frequency > 1 / 3.8)  # periods of 4 to 20 steps, blurred by the window
    assert (power[:, outside].sum(1) / power.sum(1) < 1e-3).all()
    peaks = (power > 0.02 * power.amax(1, keepdim=True)).sum(1) / 3  # each some three bins wide
    assert peaks.min() < 1.5 < 2 < peaks.max()


def test_autoregressive_processes_are_stationary_and_follow_yule_and_walker() -> None:
    keys = rng.fold(rng.key(1), torch.arange(6))
    best, variance = coefficients(keys)
    for phi, error in zip(best[:, 3].double(), variance.double(), strict=True):
        companion = torch.cat([phi[None], torch.eye(3, dtype=torch.float64)[:2]])
        assert torch.linalg.eigvals(companion).abs().max() < 1
        # Autocovariances γ of Σ_j φ_j γ(|k - j|) + [k = 0] = γ(k), for k = 0 … 3: a linear system.
        system = torch.eye(4, dtype=torch.float64)
        for k in range(4):
            for j in range(3):
                system[k, abs(k - j - 1)] -= phi[j]
        gamma = torch.linalg.solve(system, torch.tensor([1.0, 0, 0, 0], dtype=torch.float64))
        assert error[3] == pytest.approx(1) and error[0] == pytest.approx(float(gamma[0]), rel=1e-4)
    one = rng.fold(rng.key(5, "process"), torch.tensor(3))
    phi, gamma0 = (t.double() for t in (coefficients(one[None])[0][0, 3], coefficients(one[None])[1][0, 0]))
    values = autoregressive(one.expand(1), 20000)[0].double()
    lagged = torch.stack([values[2 - j : -1 - j] for j in range(3)], dim=1)
    estimate = torch.linalg.lstsq(lagged, values[3:, None]).solution[:, 0]
    torch.testing.assert_close(estimate, phi, atol=0.03, rtol=0)
    assert float(values.var()) == pytest.approx(float(gamma0), rel=0.15)


def test_an_autoregressive_process_is_as_wide_at_its_first_point_as_later() -> None:
    keys = rng.fold(rng.key(2), torch.arange(40000))
    values, spread = autoregressive(keys, 8).double(), coefficients(keys)[1][:, :1].sqrt()
    assert ((values / spread).var(0) - 1).abs().max() < 0.04


def test_a_task_is_the_windows_of_its_series_in_units_of_what_was_seen() -> None:
    source = series(kind="ar", window=3).sampled(FIVE)
    values, episode = source.values("val", MANY), source.episodes("val", MANY)
    mean, spread = values[:, :5].mean(1, keepdim=True), values[:, :5].std(1, keepdim=True, correction=0)
    scaled = (values - mean) / spread
    assert isinstance(episode.support.x, Tensor) and isinstance(episode.query.x, Tensor)
    torch.testing.assert_close(episode.support.y[..., 0], scaled[:, 1:5])
    torch.testing.assert_close(episode.query.y[..., 0], scaled[:, 5:])
    assert episode.support.x[0, :, :, 1].tolist() == [[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]
    torch.testing.assert_close(episode.support.x[:, 1, 1:, 0], scaled[:, :2])
    assert (episode.support.x[:, :2, 0] == 0).all()
    for i in range(5):
        torch.testing.assert_close(episode.query.x[:, i, :, 0], scaled[:, 2 + i : 5 + i])
    plain = series(kind="ar", window=3, normalise=False).sampled(FIVE).episodes("val", MANY)
    torch.testing.assert_close(plain.query.y[..., 0], values[:, 5:])


def test_what_comes_after_the_seen_points_does_not_change_the_support_set() -> None:
    few, many = (series(kind="sines").sampled(Sampling(1, 4, q)).episodes("train", MANY) for q in (1, 30))
    for one, other in zip(few.support, many.support, strict=True):
        torch.testing.assert_close(one, other)


def test_tasks_may_have_seen_different_numbers_of_points() -> None:
    source = series(kind="lines", normalise=False).sampled(Sampling(ways=1, shots=6, queries=2, min_shots=1))
    episode, values, seen = source.episodes("train", MANY), source.values("train", MANY), source.seen("train", MANY)
    assert sorted(seen.unique().tolist()) == list(range(2, 8))
    assert torch.equal(episode.support.mask.sum(1), seen - 1)
    torch.testing.assert_close(episode.query.y[..., 0], values.gather(1, seen[:, None] + torch.arange(2)))
    assert (episode.support.y[~episode.support.mask] == 0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, -7e6])
def test_a_constant_series_has_spread_one(value: float) -> None:
    x, y, _ = seen_examples([value] * 6, series().format)
    assert isinstance(x, Tensor)
    assert y.abs().max() < 1e-6 and torch.isfinite(x).all()


def test_seen_examples_are_those_of_the_source() -> None:
    source = series(kind="ar", window=4).sampled(FIVE)
    values, episode = source.values("test", MANY[:3]), source.episodes("test", MANY[:3])
    for i in range(3):
        mine = seen_examples(1e6 + 50 * values[i, :5].double(), source.format)  # other units, the same task
        for one, other in zip(mine, episode.support, strict=True):
            torch.testing.assert_close(one, other[i], atol=1e-5, rtol=1e-5)


def test_rolling_out_feeds_each_forecast_back_in_the_units_of_the_series() -> None:
    def extrapolated(x: Tensor) -> Tensor:
        return 2 * x[:, -1:, 0] - x[:, -2:-1, 0]

    format = series(window=2).format
    seen = torch.tensor([1000.0, 1003.0, 1006.0], dtype=torch.float64)
    fitted = format.prepare(seen)
    said = format.ask(lambda x: Distribution(extrapolated(x)), seen, fitted, steps=4)
    forecast = numbers((1,)).target.answer(said, (), format.units(fitted)).values
    torch.testing.assert_close(forecast, torch.tensor([1009.0, 1012.0, 1015.0, 1018.0], dtype=torch.float64))
    assert series(window=3).format.windows(torch.tensor([5.0, 6.0]), torch.tensor([2, 0])).tolist() == [
        [[0, 0], [5, 1], [6, 1]],
        [[0, 0]] * 3,
    ]


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ([1.0], "at least 2 points, found 1"),
        ([1.0, float("nan"), 2.0], r"hold nan at position 1 \(1 such"),
        (["a", "b"], "must be numbers"),
        (torch.tensor([[1.0, 2.0]]), r"one axis \(length,\), found shape \(1, 2\)"),
    ],
)
def test_seen_values_that_teach_nothing_are_refused(seen: Any, message: str) -> None:
    with pytest.raises((DataError, ShapeError), match=message):
        seen_examples(seen, series().format)


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="kind of series called 'line'.*Did you mean 'lines'"):
        series(kind="line")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="window must be at least 1, found 0"):
        series(window=0)


def made(count: int = 10, length: int = 30) -> dict[str, Any]:
    return {f"machine {i}": 1e7 + torch.arange(length + i) * (i + 1.0) for i in range(count)}


def test_recorded_series_give_stretches_of_them_and_keep_splits_apart() -> None:
    data = made()
    source = recorded(data, window=3, units="kW").sampled(FIVE)
    check_source(source)
    assert sorted(n for s in ("train", "val", "test") for n in source.classes(s)) == sorted(data)
    assert source.spec.target.units == "kW"
    episode = source.episodes("train", MANY)  # rising lines in units of the five points seen: 0, ±0.707, ±1.414
    torch.testing.assert_close(episode.query.y[0, :, 0], torch.arange(3.0, 8.0) / 2**0.5, atol=1e-3, rtol=0)
    stretches = source.values("test", MANY)
    assert len({round(float(v), 4) for v in stretches[:, 0]}) > 40  # they begin anywhere


def test_recorded_series_say_what_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match="'machine 3': The seen values hold nan at position 4|machine 3.*nan"):
        recorded(made() | {"machine 3": [1.0, 2.0, 3.0, 4.0, float("nan")]})
    with pytest.raises(DataError, match="machine 3.*at least 2 points, found 1"):
        recorded(made() | {"machine 3": [1.0]})
    with caplog.at_level(logging.WARNING, "quickstudy"):
        source = recorded(made() | {"stuck": [20.5] * 30})
    assert "'stuck' is constant (20.5)" in caplog.text
    check_source(source, distinct=False)
    short = recorded(made(length=10)).sampled(FIVE)
    with pytest.raises(DataError, match=r"has 1\d points, but 1 point to start from \+ 14 shots \+ 5 queries need 20"):
        short.sampled(Sampling(ways=1, shots=14, queries=5)).check("train")
    with pytest.raises(DataError, match="cannot be split"):
        recorded(made(2))


def test_a_csv_file_is_read_as_it_stands(walks: Path, tmp_path: Path) -> None:
    there = formats.make("series", series="sensor", value="°C").find(walks)
    assert {name: len(values) for name, values in zip(there.names, there.items, strict=True)} == {
        f"sensor {i}": 40 + i for i in range(12)
    }
    assert isinstance(series_csv(path=str(walks), series="sensor", value="°C"), SeriesSource)
    path = tmp_path / "quoted.csv"
    path.write_bytes('\ufeffseries, value\r\n"a, b",1e3\r\n\r\nc, -2.5\r\n"a, b",0\r\n'.encode())
    records = formats.make("series").find(path)
    assert dict(zip(records.names, records.items, strict=True)) == {"a, b": [1000.0, 0.0], "c": [-2.5]}


def test_a_column_for_each_series_is_the_same_as_a_line_for_each_point(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {f"shop {i}": [i + 0.5 * t for t in range(30)] for i in range(8)}
    long = [f"{name},{value}" for name, points in values.items() for value in points]
    (tmp_path / "long.csv").write_text("\n".join(["series,value", *long]))
    lines = [";".join([f"{t + 1}.1.2024", *(f"{p[t]}".replace(".", ",") for p in values.values())]) for t in range(30)]
    (tmp_path / "wide.csv").write_text("\n".join(["Tag;" + ";".join(values), *lines]))
    one, other = series_csv(path=str(tmp_path / "long.csv")), series_csv(path=str(tmp_path / "wide.csv"), wide=True)
    at = torch.arange(4)
    torch.testing.assert_close(one.episodes("train", at).support.x, other.episodes("train", at).support.x)
    assert one.names == other.names
    with caplog.at_level("INFO", logger="quickstudy"):
        new = other.spec.format.find(tmp_path / "wide.csv", labelled=False)
    assert dict(zip(new.names, new.items, strict=True)) == values
    assert "is a series (8: shop 0, " in caplog.text and "left out: Tag." in caplog.text
    (tmp_path / "hole.csv").write_text("day,a,b\nMonday,1,2\nTuesday,,3\n")
    with pytest.raises(DataError, match="line 3, column 'a': the value '' is not a number"):
        series_csv(path=str(tmp_path / "hole.csv"), wide=True)
    (tmp_path / "words.csv").write_text("day,note\nMonday,rain\n")
    with pytest.raises(DataError, match="no column that begins with a number, but day, note"):
        series_csv(path=str(tmp_path / "words.csv"), wide=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("series,value\na,1\na,x1\n", r"bad.csv, line 3: the value 'x1' is not a number"),
        ("series,value\na,1\na,\n", r"line 3: the value '' is not a number"),
        ("series,value\na,NaN\n", r"line 2: the value is NaN. Fill it"),
        ("series,value\na,1\na,2,5\n", r"line 3: 3 cells, but 2 columns"),
        ('series,value\na,"1,5"\n', r"line 2: the value '1,5' is not a number. Write numbers with a decimal point"),
        ('series,value\n"a,1\n"b,2\n', r"line 2 or after it: a cell is not as CSV files have it"),
        ("", "no column 'series'; its first line names none"),
        ("series,value\n", "no line below the names"),
    ],
)
def test_a_csv_file_with_a_fault_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        series_csv(path=str(tmp_path / "bad.csv"))


def test_a_file_that_is_no_csv_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        series_csv(path=str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"series,value\n\xff\xfe\x00,1\n")
    with pytest.raises(DataError, match="no CSV file in UTF-8"):
        series_csv(path=str(tmp_path / "binary.csv"))
