"""Addresses of a segment's ports before they are bound: four regions each, in windows of 32 MiB.

Ports 0 to 3 are the plain regions INPUT0.. and OUTPUT0.., so that a segment with few ports runs as
it is; port 4 is INPUT0 again, 32 MiB further on. `bind_segment` replaces all of them.
"""

from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.regions import MAX_PORTS, OFFSET_BITS, Address, Region

_WINDOW_BITS = 25
WINDOW_BYTES = 1 << _WINDOW_BITS
MAX_BORDER = MAX_PORTS << (OFFSET_BITS - _WINDOW_BITS)  # inputs, and outputs, of a segment


@dataclass(frozen=True, slots=True)
class Port:
    """Input (INPUT0) or output (OUTPUT0) number `number`; another region is its own port 0."""

    base: Region
    number: int


def port_address(base: Region, number: int) -> Address:
    """The address of an input or output before it is bound.

    Raises:
        ValueError: the segment has too many of them.
    """
    if number >= MAX_BORDER:
        raise ValueError(f"port {number} of a segment")
    return Address(Region(base + number % MAX_PORTS), number // MAX_PORTS << _WINDOW_BITS)


def port_of(address: Address) -> tuple[Port, int]:
    """The port that an address before binding is in, and the offset there."""
    for base in (Region.INPUT0, Region.OUTPUT0):
        if base <= address.region < base + MAX_PORTS:
            window, offset = divmod(address.offset, WINDOW_BYTES)
            return Port(base, address.region - base + MAX_PORTS * window), offset
    return Port(address.region, 0), address.offset
