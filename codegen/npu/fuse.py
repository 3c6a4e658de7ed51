"""Fusion of layers into packets: residual sums, tables, 2x2 pools, depthwise before pointwise.

A layer that is fused away is never stored. What is fused depends on the layers only; whether a
separable packet pays is asked of the cycle equation.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from lepton_cc.codegen.npu.isa.packets import Elementwise, Pool
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    DepthwiseStage,
    ElementwiseLayer,
    Layer,
    MatMulLayer,
    PoolLayer,
    Residual,
    TableLayer,
)
from lepton_cc.ir.graph import Value

SeparablePays = Callable[[ConvLayer, ConvLayer, ConvLayer], bool]
"""Asked with the depthwise layer, the pointwise layer, and both as one."""


def fuse_layers(
    layers: Sequence[Layer], kept: Collection[Value], separable_pays: SeparablePays
) -> tuple[Layer, ...]:
    """Merges layers; the values in `kept` are stored in any case.

    The order stays topological: a merged layer stands where its last part stood that reads what
    others make.
    """
    fused = _Fusion(layers, kept)
    fused.residuals()
    fused.tables()
    fused.pools()
    fused.separable(separable_pays)
    return fused.layers()


class _Fusion:
    """The layers by position; None where one was merged into another."""

    def __init__(self, layers: Sequence[Layer], kept: Collection[Value]) -> None:
        self._slots: list[Layer | None] = list(layers)
        self._kept = set(kept)

    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self._slots if layer is not None)

    def _index(self) -> tuple[dict[Value, int], Counter[Value]]:
        made = {slot.result: i for i, slot in enumerate(self._slots) if slot is not None}
        uses = Counter(v for slot in self._slots if slot is not None for v in slot.inputs)
        return made, uses

    def _is_private(self, value: Value, uses: Counter[Value]) -> bool:
        return uses[value] == 1 and value not in self._kept

    def _private_source(self, value: Value) -> int | None:
        """The position of the layer that makes a value for one reader alone."""
        made, uses = self._index()
        return made.get(value) if self._is_private(value, uses) else None

    def residuals(self) -> None:
        """conv, add -> conv with residual. Of two convolutions the later one takes the sum."""
        for position, layer in enumerate(self._slots):
            if not isinstance(layer, ElementwiseLayer) or layer.kind is not Elementwise.ADD:
                continue
            made, uses = self._index()
            if layer.lhs.type != layer.rhs.type or layer.lhs == layer.rhs:
                continue
            found = [
                (made[value], value)
                for value in layer.inputs
                if value in made and self._is_private(value, uses)
            ]
            for index, value in sorted(found, key=lambda item: -item[0]):
                conv = self._slots[index]
                other = layer.rhs if value == layer.lhs else layer.lhs
                if not isinstance(conv, ConvLayer) or made.get(other, -1) > index:
                    continue
                if conv.residual is not None or conv.table is not None or conv.pool:
                    continue
                self._slots[index] = _with_residual(conv, layer, other)
                self._slots[position] = None
                break

    def tables(self) -> None:
        """layer, table -> layer with table."""
        for position, layer in enumerate(self._slots):
            if not isinstance(layer, TableLayer):
                continue
            index = self._private_source(layer.x)
            if index is None:
                continue
            producer = self._slots[index]
            if isinstance(producer, ConvLayer | MatMulLayer | ElementwiseLayer | PoolLayer):
                if producer.table is not None or getattr(producer, "pool", False):
                    continue
                self._slots[index] = dataclasses.replace(
                    producer,
                    table=layer.table,
                    result=layer.result,
                    ops=producer.ops + layer.ops,
                )
                self._slots[position] = None

    def pools(self) -> None:
        """conv, 2x2 maximum of stride 2 -> conv with pool."""
        for position, layer in enumerate(self._slots):
            if not isinstance(layer, PoolLayer) or layer.kind is not Pool.MAX:
                continue
            window = layer.window
            plain = window.kernel == window.stride == (2, 2) and window.pad == (0, 0)
            index = self._private_source(layer.x)
            if not plain or index is None:
                continue
            conv, pooled = self._slots[index], layer.shape
            if not isinstance(conv, ConvLayer) or conv.residual is not None or conv.pool:
                continue
            if 2 * pooled.height > conv.shape.height or 2 * pooled.width > conv.shape.width:
                continue
            if layer.table is not None:
                continue
            self._slots[index] = dataclasses.replace(
                conv, pool=True, result=layer.result, ops=conv.ops + layer.ops
            )
            self._slots[position] = None

    def separable(self, pays: SeparablePays) -> None:
        """depthwise, pointwise -> one layer, where that takes less time."""
        for position, layer in enumerate(self._slots):
            if not isinstance(layer, ConvLayer) or layer.depthwise or layer.groups != 1:
                continue
            index = self._private_source(layer.x)
            if index is None:
                continue
            first = self._slots[index]
            if not isinstance(first, ConvLayer) or not first.depthwise:
                continue
            bare = first.residual is None and first.table is None and not first.pool
            if not bare or not layer.window.is_pointwise or layer.stage is not None:
                continue
            # One field of the packet is both: what the first stage adds, and the second takes away.
            if layer.input_zero_point != first.range.zero_point:
                continue
            merged = _separable(first, layer)
            if pays(first, layer, merged):
                self._slots[position] = merged
                self._slots[index] = None


def _with_residual(conv: ConvLayer, add: ElementwiseLayer, other: Value) -> ConvLayer:
    first = other == add.lhs
    residual = Residual(
        other,
        result_scale=add.rhs_scale if first else add.lhs_scale,
        residual_scale=add.lhs_scale if first else add.rhs_scale,
        offset=add.offset,
        low=add.low,
        high=add.high,
        first=first,
    )
    return dataclasses.replace(
        conv, residual=residual, table=add.table, result=add.result, ops=conv.ops + add.ops
    )


def _separable(first: ConvLayer, second: ConvLayer) -> ConvLayer:
    return dataclasses.replace(
        second,
        x=first.x,
        window=first.window,
        input_zero_point=first.input_zero_point,
        stage=DepthwiseStage(first.weights, first.range),
        ops=first.ops + second.ops,
    )
