/* cycles.c: the cycle equation of one packet, docs/lepton-npu.md, section 8; the same function as codegen/npu/cycles.py.
 *
 * Arithmetic saturates: a packet with absurd sizes takes longer than any watchdog allows.
 */

#include "packet.h"

#define MIN_RUN_BYTES 4u

static uint64_t plus(uint64_t lhs, uint64_t rhs)
{
    return lhs > UINT64_MAX - rhs ? UINT64_MAX : lhs + rhs;
}

static uint64_t times(uint64_t lhs, uint64_t rhs)
{
    return rhs != 0u && lhs > UINT64_MAX / rhs ? UINT64_MAX : lhs * rhs;
}

static uint64_t ceil_div(uint64_t numerator, uint64_t denominator)
{
    return numerator / denominator + (numerator % denominator != 0u ? 1u : 0u);
}

static uint64_t least(uint64_t lhs, uint64_t rhs)
{
    return lhs < rhs ? lhs : rhs;
}

static uint64_t greatest(uint64_t lhs, uint64_t rhs)
{
    return lhs > rhs ? lhs : rhs;
}

/* Windowed packets before POOL2X2. */
static uint64_t computed(const lpt_windowed *op, uint32_t size)
{
    return (op->epilogue & LPT_EPILOGUE_POOL2X2) != 0u ? 2u * (uint64_t)size : size;
}

static uint64_t pixel_steps(uint32_t rows, uint32_t columns, uint64_t height, uint64_t width)
{
    if (rows == 1u) {
        return ceil_div(times(height, width), columns);
    }
    return times(ceil_div(height, rows), ceil_div(width, columns));
}

static uint64_t reduction_steps(const lpt_array_mode *mode, uint64_t taps, uint64_t channels)
{
    if (mode->reduction == LPT_REDUCTION_FLATTENED) {
        return ceil_div(times(taps, channels), mode->depth);
    }
    if (mode->reduction == LPT_REDUCTION_BY_TAP) {
        return 4u * taps * ceil_div(channels, 4u * (uint64_t)mode->depth);
    }
    return 4u * ceil_div(taps, 4u) * ceil_div(channels, mode->depth);
}

static uint64_t touched(uint32_t size, uint64_t count, uint32_t stride, uint64_t extent,
                        uint32_t upsample)
{
    if (upsample > 1u) {
        return size;
    }
    return least(size, (count - 1u) * least(stride, extent) + extent);
}

/* Bytes of the input that leave the scratchpad, the line buffer holding so many channels. */
static uint64_t input_bytes(const lpt_config *config, const lpt_windowed *op, uint64_t height,
                            uint64_t width, uint64_t channels_held)
{
    const uint64_t rows = (op->kernel_height - 1u) * (uint64_t)op->dilation_y + 1u;
    const uint64_t columns = (op->kernel_width - 1u) * (uint64_t)op->dilation_x + 1u;
    const bool fits = times(rows * op->ifm_width, channels_held) <= config->line_buffer_bytes;
    const uint64_t reads = rows == 1u || fits ? 1u : op->kernel_height;
    const uint64_t touched_rows =
        touched(op->ifm_height, height, op->stride_y, rows, op->upsample_y);
    const uint64_t touched_columns =
        touched(op->ifm_width, width, op->stride_x, columns, op->upsample_x);

    return times(times(reads * touched_rows, touched_columns), op->ifm_channels);
}

/* How often the weights are decoded: once for each block of pixels in the accumulators; 0: no
 * block fits. */
static uint64_t passes(const lpt_config *config, const lpt_array_mode *mode, uint64_t pixels,
                       uint64_t outputs)
{
    const uint64_t block =
        config->accumulators / times(mode->outputs, ceil_div(outputs, mode->outputs));

    return block < (uint64_t)mode->rows * mode->columns ? 0u : ceil_div(pixels, block);
}

static uint64_t decode(const lpt_config *config, uint64_t weights, uint32_t encoding)
{
    return times(ceil_div(weights, config->decoder_weights),
                 encoding == LPT_ENCODING_PREFIX ? config->prefix_divisor : 1u);
}

static uint64_t slice_traffic(const lpt_config *config, const lpt_slice *slice, uint64_t times_read)
{
    if (LPT_REGION_OF(slice->address) == LPT_REGION_SPM || config->constants_in_spm != 0u) {
        return times(times_read, slice->bytes);
    }
    return 0u;
}

static void set_traffic(const lpt_config *config, uint64_t bytes, lpt_cycles *cycles)
{
    cycles->scratchpad_bytes = bytes;
    cycles->scratchpad = ceil_div(times(bytes, LPT_RATE_UNIT), config->spm_rate);
}

static uint64_t depthwise_array(const lpt_config *config, const lpt_windowed *op, uint32_t index,
                                uint64_t height, uint64_t width)
{
    const lpt_depthwise_mode *mode = &config->depthwise_modes[index];
    const uint64_t taps = (uint64_t)op->kernel_height * op->kernel_width;
    const uint64_t tiles = ceil_div(op->ifm_channels, mode->channels);
    const uint64_t steps = pixel_steps(mode->rows, mode->columns, height, width);

    return times(times(times(tiles, steps), ceil_div(taps, mode->taps)), mode->cycles);
}

/* The part of CONV and of the second stage of SEPARABLE. Returns false if no block fits. */
static bool add_dense(const lpt_config *config, const lpt_windowed *op, uint64_t taps,
                      uint64_t height, uint64_t width, uint64_t *traffic, lpt_cycles *cycles)
{
    const lpt_array_mode *mode = &config->modes[op->mode];
    const uint64_t outputs = op->ofm_channels / op->groups;
    const uint64_t channels = op->ifm_channels / op->groups;
    const uint64_t pixels = times(height, width);
    const uint64_t steps = times(pixel_steps(mode->rows, mode->columns, height, width),
                                 reduction_steps(mode, taps, channels));
    const uint64_t num_passes = passes(config, mode, pixels, outputs);
    const uint64_t count = times(op->ofm_channels * taps, channels);

    cycles->array = plus(cycles->array,
                         times(op->groups * ceil_div(outputs, mode->outputs), steps));
    cycles->weights =
        plus(cycles->weights, times(num_passes, decode(config, count, op->weights.encoding)));
    cycles->weights_decoded = plus(cycles->weights_decoded, times(num_passes, count));
    cycles->macs = plus(cycles->macs, times(pixels, count));
    *traffic = plus(*traffic, slice_traffic(config, &op->weights, num_passes));
    return num_passes != 0u;
}

static bool convolution(const lpt_config *config, const lpt_windowed *op, lpt_cycles *cycles)
{
    const uint64_t height = computed(op, op->ofm_height);
    const uint64_t width = computed(op, op->ofm_width);
    const uint64_t pixels = height * width;
    const uint64_t taps = (uint64_t)op->kernel_height * op->kernel_width;
    const uint64_t stored = times((uint64_t)op->ofm_height * op->ofm_width, op->ofm_channels);
    const bool separable = op->opcode == LPT_OPCODE_SEPARABLE;
    const uint64_t elements = times(pixels, op->ofm_channels);
    uint64_t held = op->ifm_channels;
    uint64_t traffic = 0u;
    uint64_t units;
    bool fits = true;

    if (op->opcode != LPT_OPCODE_CONV) {
        const uint32_t index = separable ? op->stage_mode : op->mode;
        const lpt_slice *slice = separable ? &op->stage_weights : &op->weights;
        const uint64_t count = taps * op->ifm_channels;

        held = config->depthwise_modes[index].channels;
        cycles->array = depthwise_array(config, op, index, height, width);
        cycles->weights = decode(config, count, slice->encoding);
        cycles->weights_decoded = count;
        cycles->macs = times(pixels, count);
        traffic = slice_traffic(config, slice, 1u);
    }
    if (op->opcode != LPT_OPCODE_DEPTHWISE) {
        fits = add_dense(config, op, separable ? 1u : taps, height, width, &traffic, cycles);
    }
    units = times(times(pixels, op->ofm_channels + (separable ? op->ifm_channels : 0u)),
                  config->costs.requantize);
    traffic = plus(traffic, plus(input_bytes(config, op, height, width, held), stored));
    if ((op->epilogue & LPT_EPILOGUE_RESIDUAL) != 0u) {
        units = plus(units, times(stored, config->costs.fused_add));
        traffic = plus(traffic, stored);
    }
    if ((op->epilogue & LPT_EPILOGUE_TABLE) != 0u) {
        units = plus(units, times(elements, config->costs.fused_table));
    }
    cycles->epilogue = ceil_div(units, LPT_COST_UNIT);
    cycles->outputs = stored;
    set_traffic(config, traffic, cycles);
    return fits;
}

static bool matmul(const lpt_config *config, const lpt_matmul *op, lpt_cycles *cycles)
{
    const lpt_array_mode *mode = &config->modes[op->mode];
    const uint64_t num_passes = passes(config, mode, op->rows, op->columns);
    const uint64_t pixels = mode->rows == 1u ? ceil_div(op->rows, mode->columns)
                                             : ceil_div(op->rows, mode->rows);
    const uint64_t outputs = times((uint64_t)op->batch * op->rows, op->columns);
    const uint64_t products = (uint64_t)op->depth * op->columns;
    const uint64_t traffic =
        plus((uint64_t)op->rows * op->depth,
             plus(times(num_passes, products), (uint64_t)op->rows * op->columns));
    const bool table = (op->epilogue & LPT_EPILOGUE_TABLE) != 0u;
    const uint64_t cost =
        (uint64_t)config->costs.requantize + (table ? config->costs.fused_table : 0u);

    cycles->array = times(times(op->batch * pixels, ceil_div(op->columns, mode->outputs)),
                          reduction_steps(mode, 1u, op->depth));
    cycles->epilogue = ceil_div(times(outputs, cost), LPT_COST_UNIT);
    cycles->weights =
        times(op->batch * num_passes, decode(config, products, LPT_ENCODING_RAW8));
    cycles->macs = times(outputs, op->depth);
    cycles->outputs = outputs;
    cycles->weights_decoded = times(op->batch * num_passes, products);
    set_traffic(config, times(op->batch, traffic), cycles);
    return num_passes != 0u;
}

static void pool(const lpt_config *config, const lpt_windowed *op, lpt_cycles *cycles)
{
    const uint64_t stored = times((uint64_t)op->ofm_height * op->ofm_width, op->ofm_channels);
    const uint64_t held = config->depthwise_modes[op->mode].channels;
    const bool table = (op->epilogue & LPT_EPILOGUE_TABLE) != 0u;
    const uint64_t cost =
        (uint64_t)config->costs.requantize + (table ? config->costs.fused_table : 0u);

    cycles->array = depthwise_array(config, op, op->mode, op->ofm_height, op->ofm_width);
    cycles->epilogue = ceil_div(times(stored, cost), LPT_COST_UNIT);
    cycles->outputs = stored;
    set_traffic(config, plus(input_bytes(config, op, op->ofm_height, op->ofm_width, held), stored),
                cycles);
}

static void elementwise(const lpt_config *config, const lpt_elementwise *op, lpt_cycles *cycles)
{
    const uint64_t elements = times((uint64_t)op->height * op->width, op->channels);
    const uint64_t rows = op->rhs.row_stride != 0u ? op->height : 1u;
    const uint64_t columns = op->rhs.pixel_stride != 0u ? op->width : 1u;
    const uint64_t repeated =
        times(rows * columns, op->rhs_repeats_channel != 0u ? 1u : op->channels);
    const bool table = (op->epilogue & LPT_EPILOGUE_TABLE) != 0u;
    const uint64_t cost =
        (uint64_t)(op->kind == LPT_ELEMENTWISE_ADD ? config->costs.add : config->costs.mul) +
        (table ? config->costs.fused_table : 0u);

    cycles->epilogue = ceil_div(times(elements, cost), LPT_COST_UNIT);
    cycles->outputs = elements;
    set_traffic(config, plus(times(2u, elements), repeated), cycles);
}

static void table(const lpt_config *config, const lpt_table *op, lpt_cycles *cycles)
{
    const uint64_t elements = times((uint64_t)op->height * op->width, op->channels);

    cycles->epilogue = ceil_div(times(elements, config->costs.table), LPT_COST_UNIT);
    cycles->outputs = elements;
    set_traffic(config, times(2u, elements), cycles);
}

static lpt_port port_of(const lpt_config *config, uint32_t region)
{
    const lpt_port internal = {config->spm_rate, 0u};

    if (region == LPT_REGION_SPM || region == LPT_REGION_WBUF) {
        return internal;
    }
    return region == LPT_REGION_STREAM || region == LPT_REGION_CONSTANTS ? config->constants
                                                                          : config->system;
}

static void dma(const lpt_config *config, const lpt_dma *op, lpt_cycles *cycles)
{
    const uint32_t target = LPT_REGION_OF(op->target);
    const uint32_t source = op->fill != 0u ? target : LPT_REGION_OF(op->source);
    const lpt_port read = port_of(config, source);
    const lpt_port written = port_of(config, target);
    const uint64_t runs = times((uint64_t)op->counts[0] * op->counts[1], op->counts[2]);
    const bool inside = op->fill == 0u && source == LPT_REGION_SPM && target == LPT_REGION_SPM;
    const uint64_t bytes =
        times(runs, greatest(op->run_bytes, MIN_RUN_BYTES) * (inside ? 2u : 1u));
    const uint64_t latency = (op->fill != 0u ? 0u : (uint64_t)read.latency) + written.latency;

    cycles->setup = 0u;
    cycles->transfer = plus(
        latency, ceil_div(times(bytes, LPT_RATE_UNIT), least(read.rate, written.rate)));
}

int32_t lpt_packet_cycles(const lpt_config *config, const uint32_t *words, lpt_cycles *cycles)
{
    const uint32_t opcode = lpt_get(words, LPT_HEADER_OPCODE);
    const lpt_cycles nothing = {.setup = config->setup_cycles};
    bool fits = true;

    *cycles = nothing;
    switch (opcode) {
    case LPT_OPCODE_CONV:
    case LPT_OPCODE_DEPTHWISE:
    case LPT_OPCODE_SEPARABLE: {
        const lpt_windowed op = lpt_windowed_of(words);

        fits = convolution(config, &op, cycles);
        break;
    }
    case LPT_OPCODE_POOL: {
        const lpt_windowed op = lpt_windowed_of(words);

        pool(config, &op, cycles);
        break;
    }
    case LPT_OPCODE_MATMUL: {
        const lpt_matmul op = lpt_matmul_of(words);

        fits = matmul(config, &op, cycles);
        break;
    }
    case LPT_OPCODE_ELEMENTWISE: {
        const lpt_elementwise op = lpt_elementwise_of(words);

        elementwise(config, &op, cycles);
        break;
    }
    case LPT_OPCODE_TABLE: {
        const lpt_table op = lpt_table_of(words);

        table(config, &op, cycles);
        break;
    }
    case LPT_OPCODE_DMA: {
        const lpt_dma op = lpt_dma_of(words);

        dma(config, &op, cycles);
        break;
    }
    case LPT_OPCODE_NOP:
    case LPT_OPCODE_TRACE:
        break;
    default:
        cycles->setup = 0u;
        break;
    }
    return fits ? 1 : 0;
}

uint64_t lpt_total_cycles(const lpt_cycles *cycles)
{
    const uint64_t busy = greatest(greatest(cycles->array, cycles->epilogue),
                                   greatest(cycles->scratchpad, cycles->weights));

    return plus(plus(cycles->setup, busy), cycles->transfer);
}
