"""From images and masks to an adapted model, and from it to masks of new images: in Python and by the commands."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_files import SHADES, SIZE, drawing, save, write_concepts
from PIL import Image as Pillow

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import learners, models, sources
from quickstudy.runs.train import train
from quickstudy.targets.answers.base import Answer


def small(root: Path, **options: Any) -> qs.RunConfig:
    return replace(
        qs.recipes.masks(), tasks=sources.part("masks", root=str(root), size=SIZE, flip=0.5, val=0.2, test=0.2),
        model=models.part("unet", width=4, depth=1), ways=2, shots=2, queries=2, train_shots=2, meta_batch=2,
        iterations=4, validate_every=4, checkpoint_every=2, validation_episodes=4, calibration_episodes=1, device="cpu",
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    write_concepts(root / "all")
    train(small(root / "all"), out=root / "run", quiet=True)
    return root


@pytest.mark.parametrize(
    ("learner", "model"),
    [
        ("maml", "unet"),
        ("reptile", "unet"),
        ("anil", "unet"),
        ("r2d2", "unet"),
        ("decoder", "unet"),
        ("r2d2", "squeezenet"),
    ],
)
def test_learners_train_on_masks(made: Path, tmp_path: Path, learner: str, model: str) -> None:
    options = {"width": 4, "depth": 1} if model == "unet" else {"resolution": 32}
    part = learners.part(learner, **({"width": 8} if learner == "decoder" else {}))
    config = replace(small(made / "all"), learner=part, model=models.part(model, **options), iterations=2)
    run = train(replace(config, min_shots=None), out=tmp_path / "run", quiet=True)
    result = run.evaluate(episodes=3)
    assert result.metric == "iou" and 0 <= result.mean <= 1 and result.baseline is not None


def test_training_learns_to_find_a_new_concept(made: Path, tmp_path: Path) -> None:
    """Each concept is brighter than the ground, in a shade of its own."""
    config = replace(small(made / "all"), learner=learners.part("r2d2"), iterations=50, validate_every=50, lr=1e-2)
    run = train(config, out=tmp_path / "run", quiet=True)
    untrained, trained = (run.evaluate(episodes=8, params=params) for params in (run.untrained(), None))
    assert trained.mean > 0.8 > untrained.mean + 0.5


def support(root: Path, shade: int = 200, size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    """A folder of images and masks of a concept of one's own, of any size."""
    for i in range(3):
        image, mask = drawing(900 + i, shade)
        for kind, pixels in (("images", image), ("masks", mask)):
            picture = Pillow.fromarray(np.asarray(pixels, np.uint8)).resize(size, Pillow.Resampling.NEAREST)
            (root / kind).mkdir(parents=True, exist_ok=True)
            picture.save(root / kind / f"{i}.png")
    (root / "classes.txt").write_text("0 background\n1 gnu\n")
    return root


def test_adapting_and_predicting_by_the_commands_gives_masks_of_the_images_own_size(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = support(tmp_path / "mine", size=(24, 16))
    assert main(["adapt", str(made / "run"), "--support", str(root), "--out", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert "masks of 2 classes from 3 images" in said and "Next, for images that it was not shown:" in said
    out = tmp_path / "masks"
    assert main(["predict", str(tmp_path / "model"), str(root / "images"), "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        *(f"{i}{e}" for i in range(3) for e in (".doubt.png", ".png")),
        "predictions.csv",
    ]
    answer = qs.Model.load(tmp_path / "model").predict(sorted((root / "images").iterdir()))
    for i in range(3):
        picture, doubt = Pillow.open(out / f"{i}.png"), Pillow.open(out / f"{i}.doubt.png")
        assert picture.size == doubt.size == (24, 16) and picture.mode == "P" and doubt.mode == "L"
        assert set(np.unique(picture)) <= {0, 1}
        assert picture.convert("RGB").getpixel((0, 0)) in ((0, 0, 0), (128, 0, 0))
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert float(rows[0]["share of gnu"]) == pytest.approx(answer.row(0)[1], abs=1e-4)
    assert main(["predict", str(tmp_path / "model"), str(root / "images"), "--out", str(out)]) == 0, (
        "results may be replaced"
    )
    for place in (root / "masks", root / "images"):
        before = {path: path.read_bytes() for path in place.iterdir()}
        assert main(["predict", str(tmp_path / "model"), str(root / "images"), "--out", str(place)]) != 0
        assert before == {path: path.read_bytes() for path in place.iterdir()}
    assert main(["predict", str(tmp_path / "model"), str(root / "images"), "--out", str(tmp_path / "t.csv")]) == 0
    assert (tmp_path / "t.csv").read_text().startswith("file,share of background,share of gnu,doubt")


def test_masks_may_be_files_arrays_or_a_folder_with_both(made: Path, tmp_path: Path) -> None:
    run = qs.Run(made / "run")
    root = support(tmp_path / "mine")
    images = sorted((root / "images").iterdir())
    files = sorted((root / "masks").iterdir())
    arrays = [np.asarray(Pillow.open(file)) for file in files]
    pixels = torch.stack([torch.tensor(np.asarray(Pillow.open(file))).permute(2, 0, 1) for file in images])
    given: list[Answer] = [
        run.adapt(root).predict(images),
        run.adapt(images, files).predict(images),
        run.adapt(images, arrays).predict(images),
        run.adapt(images, [mask.astype(bool) for mask in arrays]).predict(images),
        run.adapt(pixels, np.stack(arrays)).predict(pixels),
    ]
    for answer in given[1:]:
        torch.testing.assert_close(answer.prediction, given[0].prediction)
    assert [run.adapt(root).names[1], run.adapt(images, files).names[1]] == ["gnu", "1"]


def test_a_model_comes_back_and_takes_more_classes_than_its_run(made: Path, tmp_path: Path) -> None:
    run, root = qs.Run(made / "run"), support(tmp_path / "mine")
    images = sorted((root / "images").iterdir())
    masks = [np.asarray(Pillow.open(file)) for file in sorted((root / "masks").iterdir())]
    several = [np.where(np.arange(SIZE) < 2, 4, mask) for mask in masks]
    model = run.adapt(images, several)
    assert model.names == ("background", "1", "4")
    model.save(tmp_path / "model")
    again = qs.Model.load(tmp_path / "model")
    assert torch.equal(again.predict(images).prediction, model.predict(images).prediction)


def test_what_cannot_be_learned_from_is_said(made: Path, tmp_path: Path) -> None:
    run, root = qs.Run(made / "run"), support(tmp_path / "mine")
    images = sorted((root / "images").iterdir())
    blank = np.zeros((SIZE, SIZE), int)
    for labels, error, words in (
        ([blank] * 3, DataError, "nothing but background"),
        ([blank + 1] * 2, DataError, "3 images but 2 masks"),
        ([blank[:4]] * 3, DataError, f"8 x 4 pixels, but its image .* is {SIZE} x {SIZE}"),
        ([blank.astype(float)] * 3, DataError, "floating point"),
        (None, DataError, "Learning masks needs one"),
    ):
        with pytest.raises(error, match=words):
            run.adapt(images, labels)
    save(root / "masks" / "0.png", np.full((SIZE, SIZE), 9))
    with pytest.raises(DataError, match="the value 9, which no class has"):
        run.adapt(root)
    with pytest.raises(DataError, match="has no images|no sub-folders|There is no folder"):
        run.adapt(tmp_path / "nowhere")


def test_the_report_paints_masks_over_images(made: Path) -> None:
    pytest.importorskip("matplotlib")
    run = qs.Run(made / "run")
    from quickstudy.report import report

    page = report(run, episodes=3, curve_episodes=2).read_text()
    assert "IoU" in page and page.count("<img") > 10 and any(f"{name} " in page for name in SHADES)


def test_a_network_without_maps_is_refused(made: Path) -> None:
    config = replace(small(made / "all"), model=models.part("conv4", width=4))
    with pytest.raises(ConfigError, match="--model unet or --model squeezenet"):
        train(config, out=made / "never", quiet=True)


def test_classes_that_no_mask_shows_are_said_and_a_blank_folder_is_refused(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, root = qs.Run(made / "run"), support(tmp_path / "mine")
    (root / "classes.txt").write_text("0 background\n1 thing\n2 other\n")
    run.adapt(root)
    assert "no mask shows are left out of all answers: other" in caplog.text
    for file in (root / "masks").iterdir():
        save(file, np.zeros((SIZE, SIZE)))
    with pytest.raises(DataError, match="nothing but background"):
        run.adapt(root)
    save(root / "masks" / "1.png", np.full((SIZE, SIZE), 2))
    (root / "classes.txt").write_text("0 background\n1 thing\n2 void\n")
    with pytest.raises(DataError, match=r"images.1\.\w+ labels no pixel"):
        run.adapt(root)
