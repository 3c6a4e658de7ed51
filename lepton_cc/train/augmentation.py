"""Samples changed at random: what makes a few thousand of them last for many epochs.

Teacher and student see the same changed samples, so that a change may be a strong one: the teacher
says what it is now (Beyer et al., "A good teacher is patient and consistent", 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from lepton_cc.ir.diagnostics import UsageError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to samples, each time anew; all but mixup only to images [n, C, H, W].

    flip: half of them are mirrored, left to right; shift: they are moved by up to so many rows and
    columns, zeros coming in. zoom: they are made larger or smaller by up to this share, and moved
    by as much, mirrored at their edges. contrast: brightness and contrast change by up to this
    share. mixup: this share of the samples is blended with another one, in any proportion (Zhang et
    al., 2018). cutmix: this share gets a rectangle of another one (Yun et al., 2019).
    """

    flip: bool = False
    shift: int = 0
    zoom: float = 0.0
    contrast: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return self.changes_images or self.mixup > 0

    @property
    def changes_images(self) -> bool:
        """Whether anything is done that only images allow."""
        return self.flip or max(self.shift, self.zoom, self.contrast, self.cutmix) > 0

    def check(self) -> None:
        """Refuses what makes no sense.

        Raises:
            UsageError: a number is out of its range.
        """
        if self.shift < 0 or not 0 <= self.zoom < 1 or not 0 <= self.contrast < 1:
            raise UsageError("shift is not negative; zoom and contrast are from 0 to less than 1")
        if not (self.mixup >= 0 and self.cutmix >= 0 and self.mixup + self.cutmix <= 1):
            raise UsageError("mixup and cutmix are shares of the samples, together at most 1")

    def __call__(
        self, inputs: Sequence[torch.Tensor], generator: torch.Generator
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The changed samples of each input, and which of them are still of one sample, bool[n].

        Raises:
            UsageError: images are to be changed, and there are others.
        """
        changed = [self._changed(one, generator) for one in inputs]
        return self._mixed(changed, generator)

    def _changed(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.changes_images:
            return images
        if images.ndim != 4:
            shape = list(images.shape[1:])
            raise UsageError(f"only images [C, H, W] are changed as such; samples are {shape}")
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.shift:
            images = self._shifted(images, generator)
        if self.zoom:
            images = self._zoomed(images, generator)
        return self._faded(images, generator) if self.contrast else images

    def _shifted(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        count, _, height, width = images.shape
        wide = functional.pad(images, [self.shift] * 4)
        first = torch.randint(0, 2 * self.shift + 1, (2, count, 1), generator=generator)
        rows, columns = first[0] + torch.arange(height), first[1] + torch.arange(width)
        number = torch.arange(count)[:, None, None]
        # Indices on both sides of the slice bring the channels to the end.
        cut = wide[number, :, rows[:, :, None], columns[:, None, :]]
        return cut.permute(0, 3, 1, 2).contiguous()

    def _zoomed(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Height and width by factors of their own; places in -1..1 as `grid_sample` counts."""
        factors = 1 + self.zoom * _symmetric((len(images), 2), generator)
        moves = self.zoom * _symmetric((len(images), 2, 1), generator)
        places = torch.cat([torch.diag_embed(factors), moves], 2)
        grid = functional.affine_grid(places, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _faded(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """By the mean and the deviation of each image, so that any range of pixels will do."""
        change = self.contrast * _symmetric((2, len(images), 1, 1, 1), generator)
        deviations, means = torch.std_mean(images, (1, 2, 3), keepdim=True)
        return (images - means) * (1 + change[0]) + (means + change[1] * deviations)

    def _mixed(
        self, inputs: Sequence[torch.Tensor], generator: torch.Generator
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        count = len(inputs[0])
        kind = torch.rand(count, generator=generator)
        alone = kind >= self.mixup + self.cutmix
        if alone.all():
            return list(inputs), alone
        share = torch.rand(count, generator=generator)
        blended = torch.where(kind < self.mixup, share, 1.0)
        other = torch.roll(torch.arange(count), 1)
        mixed = []
        for one in inputs:
            own = blended.reshape(-1, *[1] * (one.ndim - 1))
            if self.cutmix:
                patch = _rectangles(one, share, generator)
                is_cut = (~alone & (kind >= self.mixup)).reshape(own.shape)
                own = torch.where(is_cut, 1.0 - patch, own)
            mixed.append(torch.lerp(one[other], one, own))
        return mixed, alone


def _symmetric(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Uniform from -1 to 1."""
    return 2 * torch.rand(tuple(shape), generator=generator) - 1


def _rectangles(
    images: torch.Tensor, share: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """1 in a rectangle of each image [n, 1, H, W], of 1 - share of it where it is not cut off."""
    inside = []
    for size in images.shape[2:]:
        center = torch.rand(len(images), 1, generator=generator) * size
        half = torch.sqrt(1 - share)[:, None] * size / 2
        inside.append((torch.arange(size) + 0.5 - center).abs() < half)
    return (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()
