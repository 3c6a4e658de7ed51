/* crc32c.h: CRC-32C (RFC 3720, section 12.1), which the driver of lepton-npu and its emulator share.
 *
 * Not an interface: each of the two has a function of its own around it.
 */
#ifndef LEPTON_CRC32C_H
#define LEPTON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0, give the result for the bytes that follow. */
static inline uint32_t lepton_crc32c(uint32_t crc, const uint8_t *bytes, size_t size_bytes)
{
    /* The register after four bits: 64 bytes of flash instead of the usual 1024. */
    static const uint32_t after_nibble[16] = {
        0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u,
        0x61c69362u, 0x7198540du, 0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u,
        0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
    };

    crc = ~crc;
    for (; size_bytes != 0u; --size_bytes, ++bytes) {
        crc ^= *bytes;
        crc = crc >> 4 ^ after_nibble[crc & 15u];
        crc = crc >> 4 ^ after_nibble[crc & 15u];
    }
    return ~crc;
}

#endif
