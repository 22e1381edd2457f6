from __future__ import annotations

import itertools

import pytest
import torch

from quickstudy import rng
from quickstudy.errors import ConfigError
from quickstudy.formats.augment import Augment, augment, dihedral
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.sound_augment import SoundAugment

STRONG = Augment(rotate=20, scale=0.2, shear=0.2, translate=0.1, elastic=0.03, thickness=0.5)


@pytest.fixture
def images() -> torch.Tensor:
    """Four images whose pixels all differ, with an empty margin."""
    x = torch.zeros(4, 1, 16, 16)
    x[..., 4:12, 4:12] = rng.uniform(rng.key(0), (4, 1, 8, 8), 0.2, 1.0)
    return x


KEYS = rng.fold(rng.key(1), torch.arange(4))


def test_no_augmentation_is_the_identity(images: torch.Tensor) -> None:
    assert torch.equal(augment(images, KEYS, Augment()), images)


def test_augmentation_is_a_function_of_the_key_of_each_image(images: torch.Tensor) -> None:
    batch = augment(images, KEYS, STRONG)
    torch.testing.assert_close(augment(images.flip(0), KEYS.flip(0), STRONG).flip(0), batch)
    torch.testing.assert_close(augment(images[2:3], KEYS[2:3], STRONG)[0], batch[2])
    same = augment(images[:1].repeat(4, 1, 1, 1), KEYS, STRONG)
    assert all(not torch.equal(same[i], same[j]) for i, j in itertools.combinations(range(4), 2))


@pytest.mark.parametrize("name", ["rotate", "scale", "shear", "translate", "elastic", "thickness"])
def test_each_distortion_changes_the_image_but_not_much(images: torch.Tensor, name: str) -> None:
    amount = {"rotate": 10.0, "elastic": 0.02}.get(name, 0.05)
    moved = augment(images, KEYS, Augment(**{name: amount}))
    assert moved.shape == images.shape and moved.dtype == images.dtype
    assert not torch.equal(moved, images)
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6
    ink, before = moved.sum((1, 2, 3)), images.sum((1, 2, 3))
    assert ((ink / before - 1).abs() < 0.3).all()


def test_the_eight_symmetries_are_different_and_move_pixels_only(images: torch.Tensor) -> None:
    one = images[:1].expand(8, -1, -1, -1)
    turned = dihedral(one, torch.arange(8))
    assert torch.equal(turned[0], one[0])
    assert all(not torch.equal(turned[i], turned[j]) for i, j in itertools.combinations(range(8), 2))
    assert torch.equal(turned.flatten(1).sort().values, one.flatten(1).sort().values)


def test_rotations_are_torchs_and_mirroring_twice_is_nothing(images: torch.Tensor) -> None:
    for k in range(4):
        assert torch.equal(dihedral(images, torch.full((4,), k)), torch.rot90(images, k, (-2, -1)))
    mirror = torch.full((4,), 4)
    assert torch.equal(dihedral(dihedral(images, mirror), mirror), images)


def test_the_symmetries_are_closed_and_every_one_has_an_inverse(images: torch.Tensor) -> None:
    one = images[:1]
    every = [dihedral(one, torch.tensor([k])) for k in range(8)]
    for a in range(8):
        products = [dihedral(every[a], torch.tensor([b])) for b in range(8)]
        row = [next(k for k in range(8) if torch.equal(p, every[k])) for p in products]
        assert sorted(row) == list(range(8))  # a row of the group's table is a permutation: closed, with an inverse
    assert [k for k in range(8) if torch.equal(dihedral(every[1], torch.tensor([k])), one)] == [3]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(Augment, {"rotate": -1.0}), (Augment, {"translate": 1.5}), (Augment, {"scale": float("nan")}),
     (SoundAugment, {"time_mask": 1.5}), (SoundAugment, {"shift": 5.0}), (SoundAugment, {"gain": float("inf")})],
)  # fmt: skip
def test_amounts_that_cannot_be_are_refused(kind: type[Distortion], wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"The distortion {next(iter(wrong))} must be at least 0"):
        kind(**wrong)
