"""Quantizes a model again with each proposed cure, and lets the measurement choose."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lepton_cc.attribution.cure import Cure
from lepton_cc.attribution.measurement import Measurement, Quality
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.ir.graph import Graph

# Less than this is as likely to be worse on other samples.
WORTH_DECIBELS = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A cure, and the whole model quantized with it."""

    cure: Cure
    quality: Quality


def tried(
    imported: Graph,
    options: QuantizationOptions,
    cures: Iterable[Cure],
    measurement: Measurement,
) -> Mapping[Cure, Trial]:
    """Each cure once.

    Raises:
        Refused, UsageError: as `quantize`.
    """
    found: dict[Cure, Trial] = {}
    for cure in dict.fromkeys(cures):
        made = quantize(imported, cure.applied(options))
        assert made is not None
        found[cure] = Trial(cure, measurement.of(made.graph))
    return found


def helping(trials: Iterable[Trial], before: Quality, options: QuantizationOptions) -> Trial | None:
    """The trial to advise to who quantized by `options`; None if none is worth it.

    Of those that come close to the quietest, what costs nothing where the model runs is preferred,
    then what was proposed first.
    """
    worth = [one for one in trials if one.quality.decibels >= before.decibels + WORTH_DECIBELS]
    most = max((one.quality.decibels for one in worth), default=0.0)
    close = [one for one in worth if one.quality.decibels >= most - WORTH_DECIBELS]
    return min(close, key=lambda one: one.cure.price(options), default=None)
