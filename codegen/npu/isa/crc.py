"""CRC-32C (Castagnoli), as packets and payloads use it (RFC 3720, section 12.1)."""

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        rows.append(crc)
    return tuple(rows)


_TABLE = _table()
_SHORT = 4096


def _update(crc: int, content: bytes) -> int:
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def crc32c(content: bytes) -> int:
    """The CRC of the content."""
    if len(content) <= _SHORT:
        return _update(0xFFFFFFFF, content) ^ 0xFFFFFFFF
    return _long(content)


def _long(content: bytes) -> int:
    """The same in lanes: the CRC is linear, so that equal parts are computed side by side.

    Each lane starts at 0 (the first at all ones); a lane's register is then moved over the bytes
    behind it by the matrix of that many zero bytes.
    """
    lanes = 1024
    step = len(content) // lanes
    body = np.frombuffer(content, np.uint8, count=lanes * step).reshape(lanes, step)
    table = np.asarray(_TABLE, np.uint32)
    state = np.zeros(lanes, np.uint32)
    state[0] = 0xFFFFFFFF
    for column in range(step):
        state = state >> np.uint32(8) ^ table[(state ^ body[:, column]) & np.uint32(0xFF)]
    shift = _zeros_operator(step)
    crc = 0
    for lane in state:
        crc = _apply(shift, crc) ^ int(lane)
    return _update(crc, content[lanes * step :]) ^ 0xFFFFFFFF


def _apply(matrix: tuple[int, ...], vector: int) -> int:
    total = 0
    for bit in range(32):
        if vector >> bit & 1:
            total ^= matrix[bit]
    return total


def _zeros_operator(num_bytes: int) -> tuple[int, ...]:
    """What `num_bytes` zero bytes do to each bit of the register (columns over GF(2))."""
    power = tuple(_update(1 << bit, b"\0") for bit in range(32))
    result = tuple(1 << bit for bit in range(32))
    while num_bytes:
        if num_bytes & 1:
            result = tuple(_apply(power, column) for column in result)
        power = tuple(_apply(power, column) for column in power)
        num_bytes >>= 1
    return result
