/* family.c: configurations of the members of the family, for hosts without the Python tables. */

#include <string.h>

#include "emulator.h"

#define ALL_CAPABILITIES                                                                 \
    (LPT_CAPABILITY_INT4_WEIGHTS | LPT_CAPABILITY_CODED_WEIGHTS | LPT_CAPABILITY_SEPARABLE | \
     LPT_CAPABILITY_MATMUL | LPT_CAPABILITY_RINGS | LPT_CAPABILITY_TRACE)
#define SETUP_CYCLES 24u
#define PREFIX_DIVISOR 4u

#define ARRAY_MODE(rows, columns, outputs, depth) \
    {rows, columns, outputs, depth, LPT_REDUCTION_FLATTENED},
#define DEPTHWISE_MODE(rows, columns, channels, taps) {rows, columns, channels, taps, 1u},

#define MODES_OF(macs)                                                                       \
    static const lpt_array_mode modes_##macs[] = {LPT_MODES_##macs(ARRAY_MODE)};             \
    static const lpt_depthwise_mode depthwise_##macs[] = {                                   \
        LPT_DEPTHWISE_MODES_##macs(DEPTHWISE_MODE)};

MODES_OF(64)
MODES_OF(128)
MODES_OF(256)
MODES_OF(1024)

typedef struct {
    uint32_t macs;
    uint32_t lanes;
    uint32_t spm_bytes_per_cycle;
    uint32_t spm_bytes;
    uint32_t wbuf_bytes;
    uint32_t accumulators;
    uint32_t line_buffer_bytes;
    uint32_t decoder_weights;
} member;

#define MEMBER(...) {__VA_ARGS__},

static const member family[] = {LPT_FAMILY(MEMBER)};

#define COPY_MODES(macs)                                                                       \
    case macs:                                                                                 \
        memcpy(config->modes, modes_##macs, sizeof modes_##macs);                              \
        memcpy(config->depthwise_modes, depthwise_##macs, sizeof depthwise_##macs);            \
        config->num_modes = (uint32_t)(sizeof modes_##macs / sizeof modes_##macs[0]);          \
        config->num_depthwise_modes =                                                          \
            (uint32_t)(sizeof depthwise_##macs / sizeof depthwise_##macs[0]);                  \
        break

static void set_modes(lpt_config *config)
{
    switch (config->macs) {
        COPY_MODES(64);
        COPY_MODES(128);
        COPY_MODES(256);
        COPY_MODES(1024);
    default:
        break;
    }
}

int32_t lpt_config_native(lpt_config *config, uint32_t macs, lpt_port constants, lpt_port system)
{
    size_t i;

    for (i = 0u; i < sizeof family / sizeof family[0]; ++i) {
        const member *chip = &family[i];

        if (chip->macs == macs) {
            const uint32_t cost = LPT_COST_UNIT / chip->lanes;

            memset(config, 0, sizeof *config);
            config->macs = macs;
            config->lanes = chip->lanes;
            config->spm_bytes = chip->spm_bytes;
            config->wbuf_bytes = chip->wbuf_bytes;
            config->accumulators = chip->accumulators;
            config->line_buffer_bytes = chip->line_buffer_bytes;
            config->decoder_weights = chip->decoder_weights;
            config->capabilities = ALL_CAPABILITIES;
            config->setup_cycles = SETUP_CYCLES;
            config->prefix_divisor = PREFIX_DIVISOR;
            config->spm_rate = chip->spm_bytes_per_cycle * LPT_RATE_UNIT;
            config->constants = constants;
            config->system = system;
            config->costs = (lpt_epilogue_costs){cost, cost, cost, cost, 0u, 0u};
            set_modes(config);
            return 1;
        }
    }
    return 0;
}
