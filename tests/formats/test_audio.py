"""Recordings: real files of every container, the spectrogram against an independent one, and what is refused."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sounds import folder, save, soundfile, tone
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import ConfigError, DataError, MissingExtra, ShapeError
from quickstudy.formats import Audio, Picture
from quickstudy.formats.sound import decode, loudest
from quickstudy.formats.sound_augment import SoundAugment
from quickstudy.formats.spectrogram import log_mels, mel_filters
from quickstudy.targets.distribution import Distribution
from quickstudy.testing import check_format

SHORT = Audio(rate=8000, seconds=0.5, mels=20, normalise="clip")
RAW = Audio(rate=8000, seconds=0.5, mels=0, normalise="none")


def features(format: Audio, records: Any) -> Tensor:
    x = format.features(format.store(records).x)
    assert isinstance(x, Tensor)
    return x


# Files


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_container_gives_the_same_sound(suffix: str, tmp_path: Path) -> None:
    samples = tone(440.0, 0.5)
    x = features(RAW, [save(tmp_path / f"x.{suffix}", samples)])[0]
    assert len(x) == len(samples)
    lossy = suffix in ("ogg", "mp3")
    inner = slice(400, -400)  # coders begin and end softly
    error = (x - samples)[inner].square().mean().sqrt() / samples.square().mean().sqrt()
    assert error < (0.15 if lossy else 1e-3)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_precision_is_read(subtype: str, tmp_path: Path) -> None:
    samples = tone(440.0, 0.5)
    x = features(RAW, [save(tmp_path / "x.wav", samples, subtype=subtype)])[0]
    assert (x - samples).abs().max() < (0.03 if subtype in ("PCM_U8", "ULAW") else 1e-4)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_other_rates_are_brought_to_one_and_it_is_said(rate: int, tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    stored = RAW.store([save(tmp_path / "x.wav", tone(440.0, 0.5, rate), rate)])
    assert stored.notices == [f"1 of 1 recordings brought from {rate} to 8000 samples a second."]
    x, clean = RAW.features(stored.x)[0], tone(440.0, 0.5)
    assert torch.corrcoef(torch.stack([x[200:-200], clean[200:-200]]))[0, 1] > 0.99


def test_channels_are_averaged_and_it_is_said(tmp_path: Path) -> None:
    left, right = tone(300.0, 0.5), tone(700.0, 0.5)
    stored = RAW.store([save(tmp_path / "x.wav", torch.stack([left, right], 1)), save(tmp_path / "y.wav", left)])
    assert stored.notices == ["1 of 2 recordings mixed from 2 channels to one."]
    assert (RAW.features(stored.x)[0] - (left + right) / 2).abs().max() < 1e-4


@pytest.mark.parametrize(("samples", "rate"), [(torch.full((8000,), 0.5), 16000), (torch.zeros(8000), 44100)])
def test_silence_of_another_rate_is_silence(samples: Tensor, rate: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.wav is silent"):
        SHORT.store([save(tmp_path / "a.wav", samples, rate)])


def test_channels_that_cancel_each_other_are_said(tmp_path: Path) -> None:
    left = tone(300.0, 0.5)
    with pytest.raises(DataError, match="its 2 channels cancel each other"):
        RAW.store([save(tmp_path / "x.wav", torch.stack([left, -left], 1))])


def test_an_mp3_of_many_blocks_is_what_it_is_when_read_at_once(tmp_path: Path) -> None:
    noise = 0.1 * torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    path = save(tmp_path / "x.mp3", noise * (torch.arange(400_000) // 3000 % 5 == 0), 16000)
    whole, _ = soundfile.read(path, dtype="float32")
    torch.testing.assert_close(decode(path).samples, torch.from_numpy(whole), rtol=0, atol=1e-5)


def test_a_column_of_a_data_frame_is_its_files(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = str(save(tmp_path / "x.wav", tone(440.0)))
    frame = pandas.DataFrame({"file": [path, path]})
    assert torch.equal(features(SHORT, frame.file), features(SHORT, [path, path]))
    with pytest.raises(DataError, match="Give that column"):
        SHORT.store(frame)


def test_files_bytes_and_arrays_in_every_form_are_one(tmp_path: Path) -> None:
    samples = tone(440.0)
    path = save(tmp_path / "x.wav", samples)
    whole = (samples * 32767).round().to(torch.int16)
    forms = [
        [path], [str(path)], [path.read_bytes()], [io.BytesIO(path.read_bytes())], path.read_bytes(), [samples],
        [samples.numpy()], [samples.tolist()], samples[None], samples.numpy()[None], [(samples.numpy(), 8000)],
        [{"array": samples.numpy(), "sampling_rate": 8000, "path": None}], [whole], whole[None], tmp_path,
        (samples.numpy(), 8000), {"array": samples.numpy(), "sampling_rate": 8000}, np.array([str(path)]),
        np.array([path], dtype=object),
    ]  # fmt: skip
    for form in forms:
        torch.testing.assert_close(features(SHORT, form), features(SHORT, [path]), rtol=0, atol=0.05)
    assert SHORT.store(SHORT.store([path]).x).x["samples"].shape == (1, 4000)


def test_the_contract_is_kept_from_files(tmp_path: Path) -> None:
    folder(tmp_path, classes=2, each=2)
    for format in (SHORT, RAW, replace(RAW, normalise="clip"), replace(SHORT, normalise="none")):
        check_format(format, format.find(tmp_path).items, tmp_path)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (torch.zeros(0), "holds no sound at all"),
        (torch.zeros(100), "lasts 0.0125 s, and one frame is 0.025 s"),
        (torch.zeros(4000), "is silent"),
        (torch.full((4000,), 0.2), "is silent"),
        (torch.full((4000,), torch.nan), "holds NaN or infinite values in 4000 samples"),
    ],
)
def test_clips_without_sound_are_refused_by_name_or_left_out(samples: Tensor, said: str, tmp_path: Path) -> None:
    path, other = save(tmp_path / "a.wav", samples, subtype="FLOAT"), save(tmp_path / "b.wav", tone(440.0))
    with pytest.raises(DataError, match=rf"a\.wav {said}"):
        SHORT.store([path, other])
    with pytest.raises(DataError, match=f"recording 2 {said}"):
        SHORT.store([tone(440.0), samples])
    stored = SHORT.store([path, other], "skip")
    assert stored.kept == [1] and len(stored.x["samples"]) == 1 and "1 recordings left out" in stored.notices[0]


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    whole = save(tmp_path / "x.flac", tone(440.0, 2.0)).read_bytes()
    bad = tmp_path / "bad.flac"
    for data in (b"", b"not a sound", whole[: len(whole) // 2]):
        bad.write_bytes(data)
        with pytest.raises(DataError, match=r"bad\.flac (cannot be read as a recording|is truncated|is empty)"):
            SHORT.store([bad])
    with pytest.raises(DataError, match="There is no file"):
        SHORT.store([tmp_path / "absent.wav"])
    with pytest.raises(DataError, match=r"lasts 2 s, more than the limit of 1 s"):
        decode(tmp_path / "x.flac", max_seconds=1.0)
    with pytest.raises(DataError, match="is no rate of sound"):
        decode(save(tmp_path / "slow.wav", tone(1.0), rate=10))


@pytest.mark.parametrize(
    ("records", "error", "said"),
    [
        ([torch.full((4000,), 200.0)], DataError, "as large as 200, but full scale is 1"),
        ([torch.zeros(4000).long()], ShapeError, "must be int16, or floating point"),
        ([torch.zeros(2, 4000)], ShapeError, r"shape \(samples,\), found \(2, 4000\)"),
        (torch.zeros(4000), ShapeError, "or a single one, as a list"),
        ([{"array": [0.0]}], DataError, "must have 'array' and 'sampling_rate', found array"),
        ([(torch.zeros(4000), "fast")], DataError, "such as 16000, found 'fast'"),
        ([None], DataError, "is no recording"),
        (3, DataError, "found int"),
        ({"samples": torch.zeros(2, 3)}, ShapeError, "Stored recordings must have"),
        ({"file": "x.wav"}, ShapeError, "Stored recordings must have"),
        (np.array([["x.wav"]]), DataError, "is no recording"),
    ],
)
def test_arrays_that_are_no_recordings_are_refused(records: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        SHORT.store(records)


def test_louder_than_full_scale_is_made_softer_and_said(tmp_path: Path) -> None:
    samples = tone(440.0, 0.5)
    stored = RAW.store([save(tmp_path / "x.wav", 10 * samples, subtype="FLOAT")])
    assert stored.notices == ["1 of 1 recordings louder than full scale, and made softer."]
    torch.testing.assert_close(RAW.features(stored.x)[0], samples / samples.abs().max(), rtol=0, atol=1e-4)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.wav", tone(440.0, rate=16000), 16000)
    for package in ("soxr", "soundfile"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtra, match=rf"'{package}'.*quickstudy\[audio\]"):
                SHORT.store([path])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 10}, "rate must lie in"),
        ({"seconds": 0.01}, "seconds must lie between"),
        ({"hop": 0.0}, "hop above 0"),
        ({"hop": 1e-6}, "at least one sample"),
        ({"rate": 8000, "mels": 2000}, "too narrow"),
        ({"trim": -3.0}, "trim must lie between 0"),
        ({"normalise": "bands"}, "no value of normalise called 'bands'. Did you mean 'band'"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Audio(**options)


# Spectrograms


def plain_log_mels(samples: np.ndarray, rate: int, mels: int, frame: int, hop: int) -> np.ndarray:
    """The formula written out in float64: a discrete Fourier sum, and each triangle from its three corners."""
    n = np.arange(frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / frame)
    size = 2 ** int(np.ceil(np.log2(2 * frame)))
    waves = np.exp(-2j * np.pi * np.outer(n, np.arange(size // 2 + 1)) / size)
    to_mel, to_hertz = (lambda f: 2595 * np.log10(1 + f / 700)), (lambda m: 700 * (10 ** (m / 2595) - 1))
    corners = [to_hertz(m) for m in np.linspace(to_mel(60.0), to_mel(rate / 2), mels + 2)]
    rows = []
    for start in range(0, len(samples) - frame + 1, hop):
        power = np.abs((samples[start : start + frame] * window) @ waves) ** 2 / (window**2).sum()
        bands = []
        for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False):
            total = 0.0
            for k, value in enumerate(power):
                f = k * rate / size
                if low < f <= middle:
                    total += value * (f - low) / (middle - low)
                elif middle < f < high:
                    total += value * (high - f) / (high - middle)
            bands.append(np.log(total + 1e-5))
        rows.append(bands)
    return np.array(rows).T


def test_log_mels_are_what_the_formula_says() -> None:
    samples = torch.randn(700, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = plain_log_mels(samples.numpy(), 8000, 12, 200, 80)
    found = log_mels(samples, 8000, 12, 200, 80)
    assert found.shape == (12, 7)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_a_tone_is_loudest_in_its_band() -> None:
    filters = mel_filters(20, 512, 8000)
    for pitch in (250.0, 700.0, 1500.0, 3000.0):
        absolute = features(replace(SHORT, normalise="none"), [tone(pitch, 0.5)])[0, 0]
        assert int(absolute.mean(1).argmax()) == int(filters[round(pitch / 8000 * 512)].argmax())


def test_features_are_differentiable() -> None:
    format = Audio(rate=1000, seconds=0.1, mels=4, frame=0.04, hop=0.02)
    samples = torch.randn(2, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.1
    length = torch.tensor([100, 80])

    def through(samples: Tensor) -> Any:
        return format.features({"samples": samples, "length": length})

    assert torch.autograd.gradcheck(through, samples.requires_grad_(), atol=1e-5)
    format = replace(format, normalise="clip")
    assert torch.autograd.gradcheck(through, samples, atol=1e-5)
    raw = replace(format, mels=0)
    assert torch.autograd.gradcheck(lambda s: raw.features({"samples": s, "length": length}), samples)


def test_a_clip_looks_the_same_in_any_window_and_at_any_loudness() -> None:
    clip = tone(440.0, 0.3)
    narrow, wide = (features(replace(SHORT, seconds=seconds), [clip])[0, 0] for seconds in (0.3, 0.5))
    side = (wide.shape[1] - narrow.shape[1]) // 2
    torch.testing.assert_close(wide[:, side : side + narrow.shape[1]], narrow)
    assert not wide[:, :side].any() and not wide[:, side + narrow.shape[1] :].any()
    torch.testing.assert_close(features(SHORT, [clip / 5])[0, 0], wide, rtol=0, atol=0.05)
    assert wide.mean().abs() < 1e-4 and (narrow.square().mean() - 1).abs() < 1e-3


# Longer recordings


def test_by_band_the_mean_is_taken_out() -> None:
    words = Audio(rate=8000, seconds=0.5, mels=20)
    x = words.features(words.store([tone(440.0, 0.5), tone(900.0, 0.3)]).x)
    assert isinstance(x, Tensor)
    for clip, frames in zip(x[:, 0], (48, 28), strict=True):
        there = clip[:, (48 - frames) // 2 :][:, :frames]
        torch.testing.assert_close(there.mean(1), torch.zeros(20), rtol=0, atol=1e-4)
        assert abs(float(there.square().mean()) - 1) < 1e-3


def test_of_a_longer_clip_the_loudest_window_is_learned_from() -> None:
    word, silence = tone(440.0, 0.2), 0.001 * torch.randn(8000)
    clip = torch.cat([silence, word, silence])
    stored = SHORT.store([clip])
    start = loudest(clip, 4000, 80)
    assert abs(start + 2000 - (8000 + 800)) <= 80  # the word is in the middle
    assert stored.notices == ["1 of 1 recordings are longer than the window of 0.5 s."]
    expected = (clip[start : start + 4000] * 32768).round()
    torch.testing.assert_close(stored.x["samples"][0].float(), expected)


def test_a_question_about_a_longer_clip_is_answered_by_the_mean_over_its_windows() -> None:
    parts = [tone(pitch, 0.5) for pitch in (300.0, 800.0)]
    silence = torch.zeros(8000)
    long, short = torch.cat([parts[0], silence, parts[1]]), tone(500.0, 0.4)
    stored = SHORT.query([short, long])
    assert stored.kept == [0, 1]
    windows = SHORT.features(stored.x)
    owners = stored.x["record"].tolist()
    assert owners[0] == 0 and set(owners[1:]) == {1} and 2 < len(owners) < 8  # silent windows are left out

    def predict(x: Any) -> Distribution:
        return Distribution(x.mean(-1)[:, 0], x.square().mean(-1)[:, 0])

    said = SHORT.ask(predict, stored.x, {})
    each = predict(windows)
    torch.testing.assert_close(said.mean[0], each.mean[0])
    torch.testing.assert_close(said.mean[1], each.mean[1:].mean(0))
    assert said.spread is not None and each.spread is not None
    torch.testing.assert_close(said.spread[1], each.spread[1:].square().mean(0).sqrt())
    with pytest.raises(ConfigError, match="takes no 'steps'"):
        SHORT.ask(predict, stored.x, {}, steps=3)
    assert len(SHORT.ask(predict, SHORT.query([]).x, {}).mean) == 0


# Distortions


def keys(count: int) -> Tensor:
    return rng.split(rng.key(0, "test"), count)


@pytest.mark.parametrize("name", ["shift", "speed", "gain", "noise", "stretch", "warp", "time_mask", "mel_mask"])
def test_a_distortion_is_a_function_of_its_key_alone(name: str) -> None:
    how = SoundAugment(**{name: 0.3})
    stored = SHORT.store([tone(300.0 + 50 * i, 0.3 + 0.05 * i) for i in range(4)]).x

    def distorted(rows: list[int]) -> Tensor:
        some = {n: v[rows] for n, v in stored.items()}
        x = SHORT.features(SHORT.disturbed(some, keys(4)[rows], how))
        return SHORT.distorted(x, keys(4)[rows], how)  # type: ignore[return-value]

    whole = distorted([0, 1, 2, 3])
    torch.testing.assert_close(distorted([2, 0]), whole[[2, 0]])
    assert torch.isfinite(whole).all()
    if name != "gain":  # which normalising takes out
        assert not torch.allclose(whole, SHORT.features(stored), atol=1e-3)
    assert torch.equal(SHORT.features(SHORT.disturbed(stored, keys(4), SoundAugment())), SHORT.features(stored))


def test_stretching_moves_a_peak_away_from_the_middle_and_keeps_its_band() -> None:
    x = torch.zeros(64, 1, 20, 81)
    x[:, 0, 7, 20] = 1.0  # 20 frames before the middle
    x[:, 0, 7, 60] = 1.0
    moved = SHORT.distorted(x, keys(64), SoundAugment(stretch=0.25))
    assert isinstance(moved, Tensor)
    assert moved[:, 0, 7].sum() > 0 and torch.equal(moved.sum((1, 3)) > 0, x.sum((1, 3)) > 0)
    left, right = moved[:, 0, 7, :40].argmax(1), moved[:, 0, 7, 41:].argmax(1) + 41
    assert (left + right - 80).abs().max() <= 1
    away = 40 - left
    assert away.min() < 18 and away.max() > 23 and ((away >= 16) & (away <= 25)).all()


def test_warping_moves_bands_smoothly_by_the_spread_that_is_asked_for() -> None:
    x = torch.arange(40.0)[:, None].expand(512, 1, 40, 3)  # the value says which band it was
    moved = SHORT.distorted(x, keys(512), SoundAugment(warp=0.04))
    assert isinstance(moved, Tensor)
    by = (moved - x)[:, 0, 5:35]
    assert torch.equal(by[..., 0], by[..., 2]) and by.diff(dim=1).abs().max() < 1.5
    assert 1.3 < float(by.std()) < 1.9 and abs(float(by.mean())) < 0.2  # 0.04 of 40 bands are 1.6
    assert moved.min() >= 0 and moved.max() <= 39


def test_trimming_cuts_what_is_softer_at_both_ends_alone() -> None:
    format = replace(SHORT, seconds=2.0, trim=25.0)
    word = torch.cat([tone(440.0, 0.2), torch.zeros(1600), tone(600.0, 0.2)])
    noise = 0.01 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    for around in (torch.zeros(4000), noise * float(word.std())):
        stored = format.store([torch.cat([around, word, around])]).x
        assert 0 <= int(stored["length"][0]) - len(word) <= 7 * 80 + 200
        assert abs(int(stored["samples"][0].ne(0).sum()) - len(word)) < 2000
    loud = format.store([torch.cat([noise, word, noise]) + 0.3]).x  # an offset is no sound
    assert int(loud["length"][0]) < len(word) + 800
    assert int(replace(format, trim=0.0).store([torch.cat([noise, word])]).x["length"][0]) == 4000 + len(word)


def test_masks_and_shifts_move_and_blank_what_they_say() -> None:
    x = torch.rand(64, 1, 20, 50) + 1
    masked = SHORT.distorted(x, keys(64), SoundAugment(time_mask=0.2, mel_mask=0.1))
    assert isinstance(masked, Tensor)
    gone = masked == 0
    frames, bands = gone.all(2).sum(-1).flatten(), gone.all(3).sum(-1).flatten()
    assert frames.max() <= 10 and bands.max() <= 2 and frames.float().mean() > 2
    assert torch.equal(masked[~gone], x[~gone])
    shifted = SHORT.distorted(x, keys(64), SoundAugment(shift=0.1))
    assert isinstance(shifted, Tensor)
    for one, other in zip(shifted, x, strict=True):
        left, right = ((one == 0).all(1)[0].nonzero().flatten() < 25).sum(), 0
        right = int((one == 0).all(1)[0].sum()) - int(left)
        assert max(int(left), right) <= 5 and min(int(left), right) == 0
        moved = one[..., int(left) : 50 - right]
        assert torch.equal(moved, other[..., right : 50 - int(left)])


def test_speed_moves_the_pitch_and_noise_is_as_loud_as_said() -> None:
    stored = RAW.store([tone(500.0, 0.5)] * 16).x
    fast = RAW.disturbed(stored, keys(16), SoundAugment(speed=0.2))
    for samples, length in zip(fast["samples"], fast["length"], strict=True):
        factor = 4000 / int(length) if int(length) < 4000 else None
        pitch = int(torch.fft.rfft(samples[: int(length)]).abs().argmax()) * 8000 / int(length)
        assert factor is None or abs(pitch - 500 * factor) < 6
        assert 500 / 1.2 - 6 < pitch < 500 * 1.2 + 6
    noisy = RAW.disturbed(stored, keys(16), SoundAugment(noise=0.5))
    clean = stored["samples"] / 32768
    share = (noisy["samples"] - clean).square().mean(1).sqrt() / clean.square().mean(1).sqrt()
    assert share.max() < 0.75 and share.max() > 0.1 and share.min() < 0.05


def test_played_backwards_is_the_mirror_image() -> None:
    x = features(SHORT, [tone(300.0, 0.3), tone(500.0, 0.3)])
    turned = SHORT.turned(x, torch.tensor([0, 1]))
    assert torch.equal(turned[0], x[0]) and torch.equal(turned[1], x[1].flip(-1))


def test_a_spectrogram_is_drawn_with_low_notes_below() -> None:
    drawn = SHORT.draw(features(SHORT, [tone(200.0, 0.5)])[0])
    assert isinstance(drawn, Picture) and drawn.pixels.shape == (1, 20, 48)
    rows = drawn.pixels[0].float().mean(1)
    assert rows[10:].min() < rows[:10].min()  # dark is loud


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_a_file_that_was_cut_off_is_refused(suffix: str, tmp_path: Path) -> None:
    """libsndfile reads what is left of it, as if that were all."""
    whole = save(tmp_path / f"whole.{suffix}", tone(300.0, 0.4)).read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    for cut in (tmp_path / f"cut.{suffix}", whole[: len(whole) // 2]):
        with pytest.raises(DataError, match=r"is truncated: it announces 3\d\d\d samples and holds 1\d\d\d"):
            decode(cut, "cut")
    if suffix == "wav":
        streamed = whole[:4] + b"\xff" * 4 + whole[8:]  # as is written where the length is not known yet
        assert len(decode(streamed, "streamed").samples) == 3200
    assert len(decode(whole, "whole").samples) == 3200


@pytest.mark.parametrize("cut", [1, 20, 600])
def test_an_ogg_file_that_ends_within_a_page_is_refused(cut: int, tmp_path: Path) -> None:
    whole = save(tmp_path / "a.ogg", tone(300.0, 2.0)).read_bytes()
    (tmp_path / "cut.ogg").write_bytes(whole[:-cut])
    for held in (tmp_path / "cut.ogg", whole[:-cut]):
        with pytest.raises(DataError, match="cut is truncated: its last page is cut off|cannot be read"):
            decode(held, "cut")
    assert len(decode(whole, "whole").samples) == 16000


def test_files_are_found_in_other_forms_of_their_names(tmp_path: Path) -> None:
    for name in ("gr\u00fcn", "la"):
        save(tmp_path / "w" / f"{name}.wav", tone(300.0))
    (tmp_path / "a.csv").write_text("file\nw/gru\u0308n.wav\nw\\la.wav \n", encoding="utf-8")
    found = SHORT.find(tmp_path / "a.csv", labelled=False)
    assert [Path(item).name for item in found.items] == ["gr\u00fcn.wav", "la.wav"]


def test_a_rate_may_be_of_numpy() -> None:
    assert SHORT.store([(tone(300.0), np.int64(8000))]).kept == [0]
