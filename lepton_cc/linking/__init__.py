"""Links generated objects and `runtime_c` into firmware images, with the tool chain at hand."""

from lepton_cc.linking.board import BoardPort, board_source
from lepton_cc.linking.link import (
    ControlCoreConfig,
    LinkedImage,
    application_glue,
    link_elf,
    npu_sources,
)
from lepton_cc.linking.toolchain import Toolchain, ToolchainKind, find_toolchain

__all__ = [
    "BoardPort",
    "ControlCoreConfig",
    "LinkedImage",
    "Toolchain",
    "ToolchainKind",
    "application_glue",
    "board_source",
    "find_toolchain",
    "link_elf",
    "npu_sources",
]
