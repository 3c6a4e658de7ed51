"""Images flipped and shifted at random: what makes a few thousand samples last for many epochs."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from lepton_cc.ir.diagnostics import UsageError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to images [n, C, H, W], each time anew.

    flip: half of them are mirrored, left to right; shift: they are moved by up to so many rows and
    columns, zeros coming in.
    """

    flip: bool = False
    shift: int = 0

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return self.flip or self.shift > 0

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The changed images.

        Raises:
            UsageError: they are none.
        """
        if not self.changes:
            return images
        if images.ndim != 4:
            shape = list(images.shape[1:])
            raise UsageError(f"only images [C, H, W] are flipped and shifted; samples are {shape}")
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return self._shifted(images, generator) if self.shift else images

    def _shifted(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        count, _, height, width = images.shape
        wide = functional.pad(images, [self.shift] * 4)
        first = torch.randint(0, 2 * self.shift + 1, (2, count, 1), generator=generator)
        rows, columns = first[0] + torch.arange(height), first[1] + torch.arange(width)
        number = torch.arange(count)[:, None, None]
        # Indices on both sides of the slice bring the channels to the end.
        cut = wide[number, :, rows[:, :, None], columns[:, None, :]]
        return cut.permute(0, 3, 1, 2).contiguous()
