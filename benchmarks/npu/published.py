"""What others reach, and what could be reached: Vela's estimates, and an analytic bound of ours.

Vela's numbers are its own estimates: ethos-u-vela 5.2.0, --optimise Performance, vela.ini as it
comes, U55 High End (SRAM 8 bytes a cycle, flash 1), measured on the models that the page names.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VelaRow:
    """Cycles of Vela's default core, SRAM in KiB, encoded weights in bytes; `legacy_cycles` are
    those of its Python core, where they were measured. `num_macs` if its network is not quite ours.
    """

    cycles: int
    sram_kib: float
    weight_bytes: int | None
    legacy_cycles: int | None = None
    num_macs: int | None = None

    @property
    def best(self) -> int:
        """Cycles of the better core."""
        return min(self.cycles, self.legacy_cycles or self.cycles)


@dataclass(frozen=True, slots=True)
class Bound:
    """Cycles of a layer-by-layer model of the native machine with ideal prefetch.

    `on_chip`: weights as fast as the scratchpad; `flash`: 1 byte a cycle, and the bytes of Vela's
    encoding.
    """

    on_chip: int
    flash: int


SRAM, FLASH = "u55-sram", "u55-flash"

# (network, MACs a cycle, system): Sram_Only is u55-sram, Shared_Sram is u55-flash.
VELA: Mapping[tuple[str, int, str], VelaRow] = {
    ("ad_autoencoder", 128, SRAM): VelaRow(40_929, 0.8, 184_464),
    ("ad_autoencoder", 128, FLASH): VelaRow(201_184, 0.8, 184_464),
    ("ad_autoencoder", 256, SRAM): VelaRow(40_929, 0.8, 184_464),
    ("ad_autoencoder", 256, FLASH): VelaRow(201_184, 0.8, 184_464, 201_248),
    ("ic_resnet8", 128, SRAM): VelaRow(184_083, 48.0, 74_576),
    ("ic_resnet8", 128, FLASH): VelaRow(201_747, 50.6, 74_592),
    ("ic_resnet8", 256, SRAM): VelaRow(107_151, 48.0, 74_576),
    ("ic_resnet8", 256, FLASH): VelaRow(141_933, 50.6, 74_608, 141_624),
    ("kws_dscnn", 128, SRAM): VelaRow(87_678, 15.6, 24_016),
    ("kws_dscnn", 128, FLASH): VelaRow(89_900, 21.7, 24_032),
    ("kws_dscnn", 256, SRAM): VelaRow(56_222, 15.6, 24_016),
    ("kws_dscnn", 256, FLASH): VelaRow(58_340, 21.7, 24_032, 51_430),
    ("vww_mobilenetv1_025", 128, SRAM): VelaRow(210_256, 72.0, 47_328),
    ("vww_mobilenetv1_025", 128, FLASH): VelaRow(220_870, 72.7, 47_456),
    ("vww_mobilenetv1_025", 256, SRAM): VelaRow(146_940, 72.0, 47_328),
    ("vww_mobilenetv1_025", 256, FLASH): VelaRow(161_459, 72.7, 47_376, 158_938),
    ("sww_streaming", 128, SRAM): VelaRow(28_629, 6.5, 47_424),
    ("sww_streaming", 128, FLASH): VelaRow(59_693, 8.8, 47_424),
    ("sww_streaming", 256, SRAM): VelaRow(18_896, 6.5, 47_424),
    ("sww_streaming", 256, FLASH): VelaRow(56_979, 6.5, 47_424, 60_164),
    ("mobilenet_v2", 128, SRAM): VelaRow(5_863_447, 1470.0, 3_492_592),
    ("mobilenet_v2", 128, FLASH): VelaRow(7_894_740, 1474.4, 3_492_752),
    ("mobilenet_v2", 256, SRAM): VelaRow(3_727_813, 1470.0, 3_492_592),
    ("mobilenet_v2", 256, FLASH): VelaRow(6_049_329, 1474.4, 3_493_312, 5_903_877),
    # Keras' form, with the strides in the 1x1 convolutions: 39.6 % of the array in these cycles.
    ("resnet50", 256, FLASH): VelaRow(38_060_000, 1782.5, None, num_macs=3_858_000_000),
}

# SRAM in KiB of Vela with --optimise Size (Shared_Sram, 256 MACs).
VELA_SIZE_KIB: Mapping[str, float] = {
    "ad_autoencoder": 0.75,
    "ic_resnet8": 35.0,
    "kws_dscnn": 15.6,
    "vww_mobilenetv1_025": 48.0,
    "sww_streaming": 5.8,
    "mobilenet_v2": 353.5,
}

# Least KiB of feature maps in the model's order, each map whole: the greatest sum of live bytes.
LIVE_SUM_KIB: Mapping[str, float] = {
    "ad_autoencoder": 0.75,
    "ic_resnet8": 48.0,
    "kws_dscnn": 15.6,
    "vww_mobilenetv1_025": 54.0,
    "sww_streaming": 6.5,
    "mobilenet_v2": 1470.0,
    "resnet50": 2352.0,
}

# The same where each result may overwrite the rows of its input that are done with.
DIAGONAL_KIB: Mapping[str, float] = {
    "ad_autoencoder": 0.75,
    "ic_resnet8": 34.0,
    "kws_dscnn": 9.1,
    "vww_mobilenetv1_025": 38.6,
    "sww_streaming": 4.4,
    "mobilenet_v2": 1213.0,
    "resnet50": 1596.0,
}

BOUNDS: Mapping[tuple[str, int], Bound] = {
    ("ad_autoencoder", 128): Bound(17_797, 196_162),
    ("ad_autoencoder", 256): Bound(9_018, 196_162),
    ("ic_resnet8", 128): Bound(99_961, 100_218),
    ("ic_resnet8", 256): Bound(50_419, 78_329),
    ("kws_dscnn", 128): Bound(23_720, 28_312),
    ("kws_dscnn", 256): Bound(12_436, 28_312),
    ("vww_mobilenetv1_025", 128): Bound(69_154, 69_219),
    ("vww_mobilenetv1_025", 256): Bound(35_105, 53_948),
    ("mobilenet_v2", 128): Bound(2_628_569, 3_141_060),
    ("mobilenet_v2", 256): Bound(1_324_673, 3_142_222),
}
