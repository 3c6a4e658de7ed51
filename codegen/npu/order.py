"""The order of layers: what feeds a chain from the side comes before the chain."""

from collections.abc import Sequence

from lepton_cc.codegen.npu.layers import Layer
from lepton_cc.ir.graph import Value


def chained_order(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers so ordered that each follows the maker of its first input, where that can be.

    Depth first from the results that nobody reads, side inputs before the first one: the layers
    of a chain then stand next to each other, as cascades need them.
    """
    makers = {layer.result: layer for layer in layers}
    read = {value for layer in layers for value in layer.inputs}
    ordered: list[Layer] = []
    done: set[Value] = set()
    for last in layers:
        if last.result in read:
            continue
        # Each entry is visited twice: first its inputs are put on the stack, then it is emitted.
        stack = [(last, False)]
        while stack:
            layer, has_inputs = stack.pop()
            if layer.result in done:
                continue
            if has_inputs:
                done.add(layer.result)
                ordered.append(layer)
                continue
            stack.append((layer, True))
            stack += [(makers[v], False) for v in layer.inputs if v in makers and v not in done]
    return tuple(ordered)
