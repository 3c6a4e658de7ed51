"""The constants region: every blob that streams load, each once."""

from lepton_cc.codegen.npu.isa.regions import Address, Region

_ALIGNMENT = 16


class ConstantPool:
    """Grows while segments are compiled; `content` is what goes to flash.

    `base`: where it begins in the region.
    """

    def __init__(self, base: int = 0) -> None:
        self._base = base
        self._offsets: dict[bytes, int] = {}
        self._content = bytearray()

    def add(self, blob: bytes) -> Address:
        """The blob's address; equal blobs share one."""
        if blob not in self._offsets:
            self._content += bytes(-len(self._content) % _ALIGNMENT)
            self._offsets[blob] = len(self._content)
            self._content += blob
        return Address(Region.CONSTANTS, self._base + self._offsets[blob])

    def content(self) -> bytes:
        """All blobs at their addresses."""
        return bytes(self._content)
