"""What a decoder learner puts behind an encoder: from likeness to a support set to an answer for each pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.models.unet import UNet

_NEAREST = 5  # places of a class that a place is most like
_CUES = 6
_LARGEST = 20.0  # of a cue
_LEAST = 1e-6


class Decoder(nn.Module):
    """For each class, and with the same parameters for each, how likely every pixel is of it.

    Features are brought to `width` numbers. For a class c and a place p these are what it is given: the features of p;
    their mean over the support's places of c (masked average pooling, Wang et al. 2019); and cues, which are what a
    regression says of c, the cosine of p with that mean, the mean cosine of p with the 5 places of c that it is most
    like (dense matching, Tian et al. 2020), and each of the three less the most that another class has of it. A U-Net
    of the places follows, and two convolutions over pixels, which see the image too.

    features: D of the encoder. channels: of images. width: of everything within.
    """

    def __init__(self, features: int, channels: int, width: int = 64) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(features, width, 1)
        self.places = UNet(2 * width + _CUES, width, 2, "group")
        self.pixels = nn.Conv2d(width + channels, width // 2, 3, padding=1)
        self.last = nn.Conv2d(width // 2, 1, 3, padding=1)

    def forward(self, z: Tensor, image: Tensor, keys: Tensor, members: Tensor, values: Tensor) -> Tensor:
        """Logits (n, N, height, width) for features z (n, D, h, w) of images (n, C, height, width).

        keys: (M, D) features of places of the support set. members: (M, N), 1 where one is of a class, else 0. values:
        (n, N, h, w) of the regression.
        """
        n, ways, (h, w) = len(z), members.shape[1], z.shape[-2:]
        place, known = self.reduce(z), self.reduce(keys.T[None, :, :, None])[0, :, :, 0].T
        means = members.T @ known / members.sum(0).clamp(min=1)[:, None]
        flat = _unit(place.permute(0, 2, 3, 1).reshape(n * h * w, -1))
        like = flat @ _unit(means).T
        near = flat @ _unit(known).T
        nearest = [_best(torch.where(members[:, c] > 0, near, -1.0)) for c in range(ways)]
        both = torch.stack([like, torch.stack(nearest, 1)], 2).reshape(n, h, w, ways, 2).permute(0, 3, 4, 1, 2)
        cues = torch.cat([values.clamp(-_LARGEST, _LARGEST)[:, :, None], both], 2)
        cues = torch.cat([cues, cues - _others(cues)], 2)
        shape = (n, ways, place.shape[1], h, w)
        each = [place[:, None].expand(shape), means[None, :, :, None, None].expand(shape), cues]
        seen = self.places(torch.cat(each, 2).flatten(0, 1))
        seen = F.interpolate(seen, image.shape[-2:], mode="bilinear")
        pixels = image[:, None].expand(n, ways, *image.shape[1:]).flatten(0, 1)
        logits: Tensor = self.last(F.relu(self.pixels(torch.cat([seen, pixels], 1))))
        return logits.reshape(n, ways, *image.shape[-2:])


def _unit(z: Tensor) -> Tensor:
    """Rows of length 1."""
    return z / (z.square().sum(1, keepdim=True) + _LEAST).sqrt()


def _best(near: Tensor) -> Tensor:
    """The mean of the largest few of each row."""
    return near.topk(min(_NEAREST, near.shape[1]), dim=1).values.mean(1)


def _others(cues: Tensor) -> Tensor:
    """The most that any other class has of each cue (n, N, K, h, w)."""
    ways = cues.shape[1]
    if ways < 2:
        return torch.zeros_like(cues)
    return torch.stack([torch.cat([cues[:, :c], cues[:, c + 1 :]], 1).amax(1) for c in range(ways)], 1)
