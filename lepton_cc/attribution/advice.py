"""What helps each layer: the cure that was measured to, or the likeliest one, or nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.attribution.causes import Cause, LayerNoise
from lepton_cc.attribution.cure import Cure, joined, stated
from lepton_cc.attribution.measurement import Quality
from lepton_cc.attribution.trial import Trial, helping
from lepton_cc.calibration.quantize import QuantizationOptions

# Layers whose cures are tried: each has one or two of its own, the others are the model's.
_MOST_TRIED = 3
# Who makes less than this of the noise cannot take a decibel off it.
_SMALLEST_SHARE = 0.05

_SAMPLES: Mapping[Cause, str] = {
    Cause.SATURATION: "samples that show the whole range",
    Cause.UNUSED_RANGE: "samples that look like the device's",
}


@dataclass(frozen=True, slots=True)
class Suspect:
    """A layer with the cures proposed for it, and its share of all layers' noise."""

    noise: LayerNoise
    share: float
    cures: tuple[Cure, ...]

    @property
    def is_faulty(self) -> bool:
        """True if more is wrong than that 8 or 16 bits are rounded."""
        noise = self.noise
        has_narrow = noise.in_weights and noise.has_narrow_weights
        return noise.cause is not Cause.ROUNDING or has_narrow


@dataclass(frozen=True, slots=True)
class Advice:
    """`cure` None: no option helps. `quality` of the whole model with it; None: it was not tried.

    `words` say what else there is to know or to do; empty if nothing.
    """

    cure: Cure | None = None
    quality: Quality | None = None
    words: str = ""

    @property
    def text(self) -> str:
        """One line: the option, what it gives, and words."""
        if self.cure is None:
            return self.words
        gives = "not tried" if self.quality is None else f"{self.quality.decibels:.1f} dB"
        return f"{self.cure.text} ({gives})" + (f"; {self.words}" if self.words else "")


@dataclass(frozen=True, slots=True)
class Advised:
    """An advice for each suspect, what was tried for them, and the best for the whole model.

    The cure of `best` states all that `lepton compress` must be told.
    """

    advices: tuple[Advice, ...]
    trials: tuple[Trial, ...]
    best: Trial | None


def advise(
    suspects: Sequence[Suspect],
    before: Quality,
    options: QuantizationOptions,
    attempt: Callable[[Iterable[Cure]], Mapping[Cure, Trial]] | None,
) -> Advised:
    """Advice for suspects, the worst first; without an `attempt`, nothing is tried."""
    numbers = _to_try(suspects) if attempt else ()
    cures = [cure for number in numbers for cure in suspects[number].cures]
    # One fault may run through several layers, as what a sum is added to.
    together = joined(cures)
    trials = attempt([*cures, together] if together.layers else cures) if attempt else {}
    advices = tuple(
        _advice(suspect, trials if number in numbers else {}, together, before, options)
        for number, suspect in enumerate(suspects)
    )
    best = helping(trials.values(), before, options)
    if best is not None:
        best = Trial(stated(best.cure.applied(options)), best.quality)
    return Advised(advices, tuple(trials.values()), best)


def _to_try(suspects: Sequence[Suspect]) -> tuple[int, ...]:
    """The worst that are faulty; if none is, the first: a wider one may still pay."""
    faulty = [
        number
        for number, suspect in enumerate(suspects)
        if suspect.is_faulty and suspect.share >= _SMALLEST_SHARE
    ]
    return tuple(faulty[:_MOST_TRIED]) or tuple(range(len(suspects)))[:1]


def _advice(
    suspect: Suspect,
    trials: Mapping[Cure, Trial],
    together: Cure,
    before: Quality,
    options: QuantizationOptions,
) -> Advice:
    has_part = any(cure.layers for cure in suspect.cures)
    cures = (*suspect.cures, together) if has_part else suspect.cures
    own = [trials[cure] for cure in dict.fromkeys(cures) if cure in trials]
    found = helping(own, before, options)
    words = "" if suspect.noise.in_weights else _SAMPLES.get(suspect.noise.cause, "")
    if found is not None:
        return Advice(found.cure, found.quality)
    if own:
        best = max(own, key=lambda one: one.quality.decibels)
        tried = f"nothing tried: at best {best.quality.decibels:.1f} dB, with {best.cure.text}"
        return Advice(None, None, f"{tried}; {words}" if words else tried)
    if suspect.cures and suspect.is_faulty:
        return Advice(suspect.cures[0], None, words)
    return Advice(None, None, words or "nothing: integers are only rounded")
