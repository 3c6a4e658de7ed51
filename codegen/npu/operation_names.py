"""What layers are called in payloads and reports."""

from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    ElementwiseLayer,
    Layer,
    MoveLayer,
    PoolLayer,
)


def operation_of(layer: Layer) -> str:
    """What a layer does, with all that its epilogue takes along: `conv 3x3+add`."""
    match layer:
        case ConvLayer():
            kernel = "x".join(map(str, layer.window.kernel))
            kind = "separable" if layer.stage else "depthwise" if layer.depthwise else "conv"
            name = f"{kind} {kernel}"
        case MoveLayer():
            name = layer.op.kind.mnemonic
        case ElementwiseLayer() | PoolLayer():
            family = "pool" if isinstance(layer, PoolLayer) else "elementwise"
            name = f"{family} {layer.kind.name.lower()}"
        case _:
            name = type(layer).__name__.removesuffix("Layer").lower()
    added = isinstance(layer, ConvLayer) and layer.residual is not None
    pooled = isinstance(layer, ConvLayer) and layer.pool
    tabled = getattr(layer, "table", None) is not None and name != "table"
    extras = [word for word, has in (("add", added), ("table", tabled), ("pool", pooled)) if has]
    return "+".join([name, *extras])
