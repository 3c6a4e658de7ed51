/* crc.c: the CRC of the payload's sections and the self-test's outputs. */

#include "driver.h"
#include "lepton/crc32c.h"

uint32_t lpt_driver_crc32c(uint32_t crc, const uint8_t *bytes, uint32_t size_bytes)
{
    return lepton_crc32c(crc, bytes, size_bytes);
}
