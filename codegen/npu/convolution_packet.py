"""The packet of a tile of a convolution: fields from the layer, the rows and the layouts."""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Encoding, Epilogue, Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.layers import ConvLayer, Residual
from lepton_cc.codegen.npu.layout import MapLayout
from lepton_cc.codegen.npu.tasks import Blob, ComputeTask, Rows


@dataclass(frozen=True, slots=True)
class PlacedMap:
    """A layout with the address of its buffer."""

    layout: MapLayout
    base: Address

    @property
    def start(self) -> Address:
        """Element (0, 0, 0); of a ring that of its first row."""
        return self.base.plus(self.layout.offset)

    def row(self, number: int) -> Address:
        """The first element of a row."""
        ring = self.layout.ring_rows
        return self.start.plus((number % ring if ring else number) * self.layout.row_stride)

    def fields(self, prefix: str, rows: Rows, first_channel: int = 0) -> dict[str, FieldValue]:
        """Address, strides and ring of rows [first, end), from a channel on."""
        layout = self.layout
        ring = layout.ring_rows
        start = self.start if ring else self.row(rows.first)
        fields: dict[str, FieldValue] = {
            f"{prefix}_address": start.plus(first_channel),
            f"{prefix}_row_stride": layout.row_stride,
            f"{prefix}_pixel_stride": layout.pixel_stride,
        }
        if ring:
            fields |= {f"{prefix}_ring_rows": ring, f"{prefix}_ring_start": rows.first % ring}
        return fields


def needed_rows(layer: ConvLayer, rows: Rows) -> Rows:
    """The input rows that output rows need; at least one, which padding alone may not need."""
    scale = 2 if layer.pool else 1
    stride, pad = layer.window.stride[0], layer.window.pad[0]
    up = layer.window.upsample[0]
    height = layer.input_shape.height
    low = max(rows.first * scale * stride - pad, 0)
    high = (rows.end * scale - 1) * stride - pad + layer.window.extent[0]
    first = min(-(-low // up) if up > 1 else low, height - 1)
    end = min(max((high - 1) // up + 1, first + 1), height)
    return Rows(first, end)


def convolution_packet(
    task: ComputeTask,
    x: PlacedMap,
    result: PlacedMap,
    residual: PlacedMap | None,
    blobs: Mapping[Blob, Address],
) -> Packet:
    """CONV, DEPTHWISE or SEPARABLE for the tile."""
    layer = task.layer
    assert isinstance(layer, ConvLayer)
    read = needed_rows(layer, task.rows)
    window, input_shape = layer.window, layer.input_shape
    first, count = task.first_output, task.end_output - task.first_output
    depthwise = layer.depthwise
    fields: dict[str, FieldValue] = {
        **x.fields("ifm", read, first if depthwise else 0),
        **result.fields("ofm", task.rows, first),
        "ifm_height": read.count,
        "ifm_width": input_shape.width,
        "ifm_channels": count if depthwise else input_shape.channels,
        "ofm_height": task.rows.count,
        "ofm_width": layer.shape.width,
        "ofm_channels": count,
        "kernel_height": window.kernel[0],
        "kernel_width": window.kernel[1],
        "stride_y": window.stride[0],
        "stride_x": window.stride[1],
        "dilation_y": window.dilation[0],
        "dilation_x": window.dilation[1],
        "upsample_y": window.upsample[0],
        "upsample_x": window.upsample[1],
        "pad_top": _pad_top(layer, task.rows, read),
        "pad_left": window.pad[1],
        "ofm_zero_point": layer.range.zero_point,
        "ifm_zero_point": layer.input_zero_point,
        "clamp_low": layer.range.low,
        "clamp_high": layer.range.high,
        **_slice_fields("", task.slices[0], blobs),
        "mode": task.mode,
        "groups": layer.groups,
        "epilogue": _epilogue(layer),
    }
    if layer.residual is not None and residual is not None:
        fields |= residual.fields("residual", task.rows, first)
        fields |= _residual_fields(layer.residual)
    if task.table is not None:
        fields["table_address"] = blobs[task.table]
    opcode = Opcode.DEPTHWISE if depthwise else Opcode.CONV
    if layer.stage is not None:
        opcode = Opcode.SEPARABLE
        fields |= _slice_fields("stage_", task.slices[1], blobs)
        fields |= {
            "stage_mode": task.stage_mode,
            "stage_zero_point": layer.stage.range.zero_point,
            "stage_low": layer.stage.range.low,
            "stage_high": layer.stage.range.high,
        }
    return Packet(opcode, fields)


def _pad_top(layer: ConvLayer, rows: Rows, read: Rows) -> int:
    scale = 2 if layer.pool else 1
    window = layer.window
    above = read.first * window.upsample[0] - rows.first * scale * window.stride[0]
    return window.pad[0] + above


def _slice_fields(prefix: str, blob: Blob, blobs: Mapping[Blob, Address]) -> dict[str, FieldValue]:
    encoding = Encoding.RAW8 if blob.encoded is None else blob.encoded.encoding
    return {
        f"{prefix}weights_address": blobs[blob],
        f"{prefix}weights_bytes": len(blob.content),
        f"{prefix}encoding": encoding,
    }


def _epilogue(layer: ConvLayer) -> int:
    flags = Epilogue(0)
    if layer.residual is not None:
        flags |= Epilogue.RESIDUAL
        flags |= Epilogue.RESIDUAL_FIRST if layer.residual.first else Epilogue(0)
    if layer.table is not None:
        flags |= Epilogue.TABLE
    if layer.pool:
        flags |= Epilogue.POOL2X2
    return int(flags)


def _residual_fields(residual: Residual) -> dict[str, FieldValue]:
    return {
        "result_scale": residual.result_scale,
        "residual_scale": residual.residual_scale,
        "add_offset": residual.offset,
        "add_low": residual.low,
        "add_high": residual.high,
    }


# Where tiles are costed before anything has an address.
UNPLACED = Address(Region.SPM, 0)
IN_WEIGHT_BUFFER = Address(Region.WBUF, 0)
