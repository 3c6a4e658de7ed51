/* crc.c: the CRC of packets and of the stream. */

#include "emulator.h"
#include "lepton/crc32c.h"

uint32_t lpt_crc32c(uint32_t crc, const void *bytes, size_t size_bytes)
{
    return lepton_crc32c(crc, (const uint8_t *)bytes, size_bytes);
}
