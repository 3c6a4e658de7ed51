"""Coding: the slices of a segment's weights as bytes, in the encodings that a policy allows.

Scheduling asks for a slice once for each policy; sizes and bytes are made once for all of them.
"""

import enum
from functools import cached_property

from lepton_cc.codegen.npu.isa.packets import Encoding
from lepton_cc.codegen.npu.layers import Weights
from lepton_cc.codegen.npu.machine import RATE_UNIT, Machine
from lepton_cc.codegen.npu.tasks import ComputeTask
from lepton_cc.codegen.npu.tilings import Tilings
from lepton_cc.codegen.npu.weights.slices import WeightSlice, slice_as, slice_sizes
from lepton_cc.ir.tensor import Array

_PLAIN = frozenset({Encoding.RAW8, Encoding.RAW4, Encoding.BITMAP})
_ALL = frozenset(Encoding)


class Coding(enum.Enum):
    """When a slice is stored in a prefix code, which is smaller and four times slower to decode.

    PLAIN: never. BALANCED: if its tile takes no longer, its transfer included. SMALLEST: whenever
    it is smaller, for systems whose flash sets the pace in any case.
    """

    PLAIN = "plain"
    BALANCED = "balanced"
    SMALLEST = "smallest"


class _Forms:
    """A slice without and with the prefix code, each made when it is asked for."""

    def __init__(self, part: Weights, values: Array, tile: int, groups: int, lanes: int) -> None:
        self._part = part
        self._values = values
        self._tile = tile
        self._groups = groups
        self._lanes = lanes

    def _sizes(self, allowed: frozenset[Encoding]) -> dict[Encoding, int]:
        return slice_sizes(
            self._values, tile=self._tile, groups=self._groups, lanes=self._lanes, allowed=allowed
        )

    def _encoded(self, encoding: Encoding) -> WeightSlice:
        return slice_as(
            encoding,
            self._values,
            self._part.scales,
            self._part.biases,
            tile=self._tile,
            groups=self._groups,
            lanes=self._lanes,
        )

    @cached_property
    def plain(self) -> WeightSlice:
        """The smallest that is not in the prefix code; of equal ones the cheaper to decode."""
        sizes = self._sizes(_PLAIN)
        return self._encoded(min(sizes, key=lambda encoding: (sizes[encoding], encoding)))

    @cached_property
    def coded_bytes(self) -> int | None:
        """What the prefix code would take; None where it does not fit."""
        return self._sizes(_ALL).get(Encoding.PREFIX)

    @cached_property
    def coded(self) -> WeightSlice:
        """In the prefix code."""
        return self._encoded(Encoding.PREFIX)


class SliceStore:
    """The slices of a segment's weights, each made once for all policies and schedules."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.tilings = Tilings(machine)
        # The weights keep their identity from being given to others.
        self._forms: dict[tuple[int, int, int, int], tuple[Weights, _Forms]] = {}

    def slice(
        self,
        weights: Weights,
        outputs: tuple[int, int],
        *,
        depthwise: bool,
        width: int,
        groups: int,
        coding: Coding,
        tile: ComputeTask | None,
    ) -> WeightSlice:
        """The weights of outputs [first, end), in the order of an array `width` outputs wide.

        `tile` is what the slice is for, None if the policy shall not ask how long that takes.
        """
        forms = self._forms_of(weights, outputs, depthwise, width, groups)
        if tile is None or coding is Coding.PLAIN:
            return forms.plain
        coded = forms.coded_bytes
        plain = len(forms.plain.content)
        if coded is None or coded >= plain:
            return forms.plain
        pays = coding is Coding.SMALLEST or self._no_slower(tile, plain, coded)
        return forms.coded if pays else forms.plain

    def _forms_of(
        self, weights: Weights, outputs: tuple[int, int], depthwise: bool, width: int, groups: int
    ) -> _Forms:
        key = (id(weights), *outputs, width)
        if key not in self._forms:
            part = _cut(weights, *outputs)
            values = part.values[:, :, 0, :] if depthwise else part.values
            lanes = max(self._machine.member.decoder_weights // 8, 1)
            self._forms[key] = (weights, _Forms(part, values, width, groups, lanes))
        return self._forms[key][1]

    def _no_slower(self, tile: ComputeTask, plain: int, coded: int) -> bool:
        """Whether a slice in the prefix code is worth its slower decoding."""
        rate = self._machine.system.constants.rate
        slow, fast = (
            max(self.tilings.cycles(tile, encoding=encoding), size * RATE_UNIT // rate)
            for encoding, size in ((Encoding.PREFIX, coded), (Encoding.RAW8, plain))
        )
        return slow <= fast


def _cut(weights: Weights, first: int, end: int) -> Weights:
    return Weights(
        weights.values[..., first:end], weights.scales[first:end], weights.biases[first:end]
    )
