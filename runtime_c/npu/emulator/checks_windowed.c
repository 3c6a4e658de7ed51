/* checks_windowed.c: fields, shapes and extents of CONV, DEPTHWISE, SEPARABLE and POOL. */

#include "checks.h"

#define MAX_TAPS 4096u
#define MAX_UPSAMPLE 4u
#define ALL_FLAGS                                                               \
    (LPT_EPILOGUE_RESIDUAL | LPT_EPILOGUE_RESIDUAL_FIRST | LPT_EPILOGUE_TABLE | \
     LPT_EPILOGUE_POOL2X2)

/* POOL's words of the fields that it shares with CONV. */
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_IFM_HEIGHT) == LPT_WORD(LPT_CONV_IFM_HEIGHT), ifm_shape);
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_OFM_HEIGHT) == LPT_WORD(LPT_CONV_OFM_HEIGHT), ofm_shape);
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_KERNEL_WIDTH) == LPT_WORD(LPT_CONV_KERNEL_WIDTH), kernel);
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_PAD_TOP) == LPT_WORD(LPT_CONV_PAD_TOP), pads);
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_OFM_ADDRESS) == LPT_WORD(LPT_CONV_OFM_ADDRESS), ofm);
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_CLAMP_LOW) == LPT_WORD(LPT_CONV_CLAMP_LOW), clamps);
LEPTON_STATIC_ASSERT(LPT_WORD(LPT_POOL_MODE) == LPT_WORD(LPT_CONV_MODE), modes);

static bool has(const lpt_windowed *op, uint32_t flag)
{
    return (op->epilogue & flag) != 0u;
}

static void check_shapes(lpt_checker *checker, const lpt_windowed *op)
{
    lpt_require_in_spm(checker, op->ifm.address, LPT_WORD(LPT_CONV_IFM_ADDRESS));
    lpt_require_legal(checker, op->ifm_height >= 1u && op->ifm_width >= 1u,
                      LPT_WORD(LPT_CONV_IFM_HEIGHT));
    lpt_require_legal(checker,
                      op->ifm_channels >= 1u && op->ofm_channels >= 1u &&
                          (op->ifm_channels == op->ofm_channels ||
                           op->opcode == LPT_OPCODE_CONV || op->opcode == LPT_OPCODE_SEPARABLE),
                      LPT_WORD(LPT_CONV_IFM_CHANNELS));
    lpt_require_in_spm(checker, op->ofm.address, LPT_WORD(LPT_CONV_OFM_ADDRESS));
    lpt_require_legal(checker, op->ofm_width <= 1u || op->ofm.pixel_stride >= op->ofm_channels,
                      LPT_WORD(LPT_CONV_OFM_PIXEL_STRIDE));
    lpt_require_legal(checker, op->ofm_height >= 1u && op->ofm_width >= 1u,
                      LPT_WORD(LPT_CONV_OFM_HEIGHT));
    lpt_require_legal(checker,
                      op->kernel_height >= 1u && op->kernel_width >= 1u && op->stride_y >= 1u &&
                          op->stride_x >= 1u &&
                          (op->opcode == LPT_OPCODE_POOL ||
                           op->kernel_height * op->kernel_width <= MAX_TAPS),
                      LPT_WORD(LPT_CONV_KERNEL_HEIGHT));
}

/* Windows move in one direction, so that all meet the input if the first and the last do. */
static bool windows_meet(uint32_t size, uint32_t count, uint32_t kernel, uint32_t stride,
                         int32_t pad)
{
    const int64_t first_end = (int64_t)kernel - 1 - pad;
    const int64_t last_begin = (int64_t)(count - 1u) * stride - pad;

    return first_end >= 0 && last_begin < (int64_t)size;
}

static void check_pool(lpt_checker *checker, const lpt_windowed *op)
{
    lpt_require_legal(
        checker,
        windows_meet(op->ifm_height, op->ofm_height, op->kernel_height, op->stride_y,
                     op->pad_top) &&
            windows_meet(op->ifm_width, op->ofm_width, op->kernel_width, op->stride_x,
                         op->pad_left),
        LPT_WORD(LPT_POOL_PAD_TOP));
    lpt_require_zero_point(checker, op->ofm_zero_point, LPT_WORD(LPT_POOL_OFM_ZERO_POINT));
    lpt_require_clamp(checker, op->clamp_low, op->clamp_high, LPT_WORD(LPT_POOL_CLAMP_LOW));
    lpt_require_legal(checker,
                      op->mode < checker->emulator->config.num_depthwise_modes &&
                          op->kind <= LPT_POOL_SUM && (op->epilogue & ~LPT_EPILOGUE_TABLE) == 0u,
                      LPT_WORD(LPT_POOL_MODE));
    if (has(op, LPT_EPILOGUE_TABLE)) {
        lpt_require_inside(checker, op->table_address, LPT_WORD(LPT_POOL_TABLE_ADDRESS));
    }
    lpt_require_ring(checker, &op->ifm, op->ifm_height, LPT_WORD(LPT_POOL_IFM_RING_ROWS));
    lpt_require_ring(checker, &op->ofm, op->ofm_height, LPT_WORD(LPT_POOL_OFM_RING_ROWS));
}

static bool encoding_is_known(const lpt_checker *checker, uint32_t encoding)
{
    const uint32_t capabilities = checker->emulator->config.capabilities;

    switch (encoding) {
    case LPT_ENCODING_RAW8:
    case LPT_ENCODING_BITMAP:
        return true;
    case LPT_ENCODING_RAW4:
        return (capabilities & LPT_CAPABILITY_INT4_WEIGHTS) != 0u;
    case LPT_ENCODING_PREFIX:
        return (capabilities & LPT_CAPABILITY_CODED_WEIGHTS) != 0u;
    default:
        return false;
    }
}

static void check_control(lpt_checker *checker, const lpt_windowed *op)
{
    const lpt_config *config = &checker->emulator->config;
    const bool depthwise = op->opcode == LPT_OPCODE_DEPTHWISE;
    const uint32_t num_modes = depthwise ? config->num_depthwise_modes : config->num_modes;
    const bool groups_are_legal =
        op->opcode == LPT_OPCODE_CONV
            ? op->groups >= 1u && op->ifm_channels % op->groups == 0u &&
                  op->ofm_channels % op->groups == 0u
            : op->groups == 1u;
    const bool flags_are_legal =
        (op->epilogue & ~ALL_FLAGS) == 0u &&
        !(has(op, LPT_EPILOGUE_RESIDUAL_FIRST) && !has(op, LPT_EPILOGUE_RESIDUAL)) &&
        !(has(op, LPT_EPILOGUE_POOL2X2) && has(op, LPT_EPILOGUE_RESIDUAL));

    lpt_require_legal(checker,
                      op->mode < num_modes && encoding_is_known(checker, op->weights.encoding) &&
                          flags_are_legal && groups_are_legal,
                      LPT_WORD(LPT_CONV_MODE));
}

static void check_residual(lpt_checker *checker, const lpt_windowed *op)
{
    lpt_require_in_spm(checker, op->residual.address, LPT_WORD(LPT_CONV_RESIDUAL_ADDRESS));
    lpt_require_clamp(checker, op->add_low, op->add_high, LPT_WORD(LPT_CONV_ADD_LOW));
}

static void check_stage(lpt_checker *checker, const lpt_windowed *op)
{
    lpt_require_inside(checker, op->stage_weights.address,
                       LPT_WORD(LPT_SEPARABLE_STAGE_WEIGHTS_ADDRESS));
    lpt_require_legal(checker,
                      op->stage_mode < checker->emulator->config.num_depthwise_modes &&
                          encoding_is_known(checker, op->stage_weights.encoding),
                      LPT_WORD(LPT_SEPARABLE_STAGE_MODE));
    lpt_require_zero_point(checker, op->stage_zero_point,
                           LPT_WORD(LPT_SEPARABLE_STAGE_ZERO_POINT));
    lpt_require_clamp(checker, op->stage_low, op->stage_high, LPT_WORD(LPT_SEPARABLE_STAGE_LOW));
}

static void check_convolution(lpt_checker *checker, const lpt_windowed *op)
{
    lpt_require_legal(checker,
                      op->dilation_y >= 1u && op->dilation_x >= 1u && op->upsample_y >= 1u &&
                          op->upsample_x >= 1u && op->upsample_y <= MAX_UPSAMPLE &&
                          op->upsample_x <= MAX_UPSAMPLE,
                      LPT_WORD(LPT_CONV_DILATION_Y));
    lpt_require_zero_point(checker, op->ofm_zero_point, LPT_WORD(LPT_CONV_OFM_ZERO_POINT));
    lpt_require_zero_point(checker, op->ifm_zero_point, LPT_WORD(LPT_CONV_IFM_ZERO_POINT));
    lpt_require_clamp(checker, op->clamp_low, op->clamp_high, LPT_WORD(LPT_CONV_CLAMP_LOW));
    lpt_require_inside(checker, op->weights.address, LPT_WORD(LPT_CONV_WEIGHTS_ADDRESS));
    check_control(checker, op);
    if (has(op, LPT_EPILOGUE_RESIDUAL)) {
        check_residual(checker, op);
    }
    if (has(op, LPT_EPILOGUE_TABLE)) {
        lpt_require_inside(checker, op->table_address, LPT_WORD(LPT_CONV_TABLE_ADDRESS));
    }
    lpt_require_ring(checker, &op->ifm, op->ifm_height, LPT_WORD(LPT_CONV_IFM_RING_ROWS));
    lpt_require_ring(checker, &op->ofm, op->ofm_height, LPT_WORD(LPT_CONV_OFM_RING_ROWS));
    if (has(op, LPT_EPILOGUE_RESIDUAL)) {
        lpt_require_ring(checker, &op->residual, op->ofm_height,
                         LPT_WORD(LPT_CONV_RESIDUAL_RING_ROWS));
    }
    if (op->opcode == LPT_OPCODE_SEPARABLE) {
        check_stage(checker, op);
    }
}

void lpt_check_windowed_values(lpt_checker *checker, const lpt_windowed *op)
{
    check_shapes(checker, op);
    if (!lpt_passed(checker)) {
        return;
    }
    if (op->opcode == LPT_OPCODE_POOL) {
        check_pool(checker, op);
    } else {
        check_convolution(checker, op);
    }
}

void lpt_check_windowed_scales(lpt_checker *checker, const lpt_windowed *op)
{
    if (op->opcode == LPT_OPCODE_POOL && op->kind == LPT_POOL_SUM) {
        lpt_require_positive_scale(checker, op->scale, LPT_WORD(LPT_POOL_SCALE));
    } else if (op->opcode == LPT_OPCODE_POOL) {
        lpt_require_unused_scale(checker, op->scale, LPT_WORD(LPT_POOL_SCALE));
    } else if (has(op, LPT_EPILOGUE_RESIDUAL)) {
        lpt_require_normal_scale(checker, op->result_scale, LPT_WORD(LPT_CONV_RESULT_SCALE));
        lpt_require_normal_scale(checker, op->residual_scale, LPT_WORD(LPT_CONV_RESIDUAL_SCALE));
        lpt_require_offset(checker, op->add_offset, LPT_WORD(LPT_CONV_ADD_OFFSET));
    }
}

void lpt_check_windowed_extents(lpt_checker *checker, const lpt_windowed *op)
{
    const lpt_extent ifm = {op->ifm_height, op->ifm_width, op->ifm_channels};
    const lpt_extent ofm = {op->ofm_height, op->ofm_width, op->ofm_channels};
    const bool is_pool = op->opcode == LPT_OPCODE_POOL;
    const uint32_t table_word =
        is_pool ? LPT_WORD(LPT_POOL_TABLE_ADDRESS) : LPT_WORD(LPT_CONV_TABLE_ADDRESS);

    lpt_require_map(checker, &op->ifm, ifm, LPT_READS, LPT_WORD(LPT_CONV_IFM_ADDRESS));
    lpt_require_map(checker, &op->ofm, ofm, LPT_WRITES, LPT_WORD(LPT_CONV_OFM_ADDRESS));
    if (!is_pool) {
        lpt_require_slice(checker, &op->weights, LPT_WORD(LPT_CONV_WEIGHTS_ADDRESS));
    }
    if (has(op, LPT_EPILOGUE_RESIDUAL)) {
        lpt_require_map(checker, &op->residual, ofm, LPT_READS,
                        LPT_WORD(LPT_CONV_RESIDUAL_ADDRESS));
    }
    if (has(op, LPT_EPILOGUE_TABLE)) {
        lpt_require_extent(checker, op->table_address, LPT_TABLE_BYTES, LPT_READS, table_word);
    }
    if (op->opcode == LPT_OPCODE_SEPARABLE) {
        lpt_require_slice(checker, &op->stage_weights,
                          LPT_WORD(LPT_SEPARABLE_STAGE_WEIGHTS_ADDRESS));
    }
}
