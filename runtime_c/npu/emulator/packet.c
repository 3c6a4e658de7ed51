/* packet.c: from the words of a packet to its operands. */

#include "packet.h"

#define GET(field) lpt_get(words, field)
#define GET_SIGNED(field) lpt_get_signed(words, field)

#define MAP(prefix) \
    {GET(prefix##_ADDRESS), GET(prefix##_ROW_STRIDE), GET(prefix##_PIXEL_STRIDE), \
     GET(prefix##_RING_ROWS), GET(prefix##_RING_START)}

static lpt_windowed pool_of(const uint32_t *words)
{
    const lpt_windowed op = {
        .opcode = GET(LPT_HEADER_OPCODE),
        .ifm = MAP(LPT_POOL_IFM),
        .ofm = MAP(LPT_POOL_OFM),
        .ifm_height = GET(LPT_POOL_IFM_HEIGHT),
        .ifm_width = GET(LPT_POOL_IFM_WIDTH),
        .ifm_channels = GET(LPT_POOL_IFM_CHANNELS),
        .ofm_height = GET(LPT_POOL_OFM_HEIGHT),
        .ofm_width = GET(LPT_POOL_OFM_WIDTH),
        .ofm_channels = GET(LPT_POOL_OFM_CHANNELS),
        .kernel_height = GET(LPT_POOL_KERNEL_HEIGHT),
        .kernel_width = GET(LPT_POOL_KERNEL_WIDTH),
        .stride_y = GET(LPT_POOL_STRIDE_Y),
        .stride_x = GET(LPT_POOL_STRIDE_X),
        .dilation_y = 1u,
        .dilation_x = 1u,
        .upsample_y = 1u,
        .upsample_x = 1u,
        .pad_top = GET_SIGNED(LPT_POOL_PAD_TOP),
        .pad_left = GET_SIGNED(LPT_POOL_PAD_LEFT),
        .ofm_zero_point = GET_SIGNED(LPT_POOL_OFM_ZERO_POINT),
        .clamp_low = GET_SIGNED(LPT_POOL_CLAMP_LOW),
        .clamp_high = GET_SIGNED(LPT_POOL_CLAMP_HIGH),
        .mode = GET(LPT_POOL_MODE),
        .groups = 1u,
        .epilogue = GET(LPT_POOL_EPILOGUE),
        .table_address = GET(LPT_POOL_TABLE_ADDRESS),
        .kind = GET(LPT_POOL_KIND),
        .sum_zero_point = GET_SIGNED(LPT_POOL_SUM_ZERO_POINT),
        .scale = GET(LPT_POOL_SCALE),
    };

    return op;
}

static lpt_windowed convolution_of(const uint32_t *words)
{
    const lpt_windowed op = {
        .opcode = GET(LPT_HEADER_OPCODE),
        .ifm = MAP(LPT_CONV_IFM),
        .ofm = MAP(LPT_CONV_OFM),
        .residual = MAP(LPT_CONV_RESIDUAL),
        .ifm_height = GET(LPT_CONV_IFM_HEIGHT),
        .ifm_width = GET(LPT_CONV_IFM_WIDTH),
        .ifm_channels = GET(LPT_CONV_IFM_CHANNELS),
        .ofm_height = GET(LPT_CONV_OFM_HEIGHT),
        .ofm_width = GET(LPT_CONV_OFM_WIDTH),
        .ofm_channels = GET(LPT_CONV_OFM_CHANNELS),
        .kernel_height = GET(LPT_CONV_KERNEL_HEIGHT),
        .kernel_width = GET(LPT_CONV_KERNEL_WIDTH),
        .stride_y = GET(LPT_CONV_STRIDE_Y),
        .stride_x = GET(LPT_CONV_STRIDE_X),
        .dilation_y = GET(LPT_CONV_DILATION_Y),
        .dilation_x = GET(LPT_CONV_DILATION_X),
        .upsample_y = GET(LPT_CONV_UPSAMPLE_Y),
        .upsample_x = GET(LPT_CONV_UPSAMPLE_X),
        .pad_top = GET_SIGNED(LPT_CONV_PAD_TOP),
        .pad_left = GET_SIGNED(LPT_CONV_PAD_LEFT),
        .ofm_zero_point = GET_SIGNED(LPT_CONV_OFM_ZERO_POINT),
        .ifm_zero_point = GET_SIGNED(LPT_CONV_IFM_ZERO_POINT),
        .clamp_low = GET_SIGNED(LPT_CONV_CLAMP_LOW),
        .clamp_high = GET_SIGNED(LPT_CONV_CLAMP_HIGH),
        .weights = {GET(LPT_CONV_WEIGHTS_ADDRESS), GET(LPT_CONV_WEIGHTS_BYTES),
                    GET(LPT_CONV_ENCODING)},
        .mode = GET(LPT_CONV_MODE),
        .groups = GET(LPT_CONV_GROUPS),
        .epilogue = GET(LPT_CONV_EPILOGUE),
        .result_scale = GET(LPT_CONV_RESULT_SCALE),
        .residual_scale = GET(LPT_CONV_RESIDUAL_SCALE),
        .add_offset = GET(LPT_CONV_ADD_OFFSET),
        .add_low = GET_SIGNED(LPT_CONV_ADD_LOW),
        .add_high = GET_SIGNED(LPT_CONV_ADD_HIGH),
        .table_address = GET(LPT_CONV_TABLE_ADDRESS),
    };

    return op;
}

/* SEPARABLE begins with the fields of CONV. */
LEPTON_STATIC_ASSERT(LPT_SEPARABLE_WORDS > LPT_CONV_WORDS, separable_extends_conv);
LEPTON_STATIC_ASSERT(LPT_DEPTHWISE_WORDS == LPT_CONV_WORDS, depthwise_is_as_conv);

lpt_windowed lpt_windowed_of(const uint32_t *words)
{
    lpt_windowed op;

    if (GET(LPT_HEADER_OPCODE) == LPT_OPCODE_POOL) {
        return pool_of(words);
    }
    op = convolution_of(words);
    if (op.opcode == LPT_OPCODE_SEPARABLE) {
        op.stage_weights.address = GET(LPT_SEPARABLE_STAGE_WEIGHTS_ADDRESS);
        op.stage_weights.bytes = GET(LPT_SEPARABLE_STAGE_WEIGHTS_BYTES);
        op.stage_weights.encoding = GET(LPT_SEPARABLE_STAGE_ENCODING);
        op.stage_mode = GET(LPT_SEPARABLE_STAGE_MODE);
        op.stage_zero_point = GET_SIGNED(LPT_SEPARABLE_STAGE_ZERO_POINT);
        op.stage_low = GET_SIGNED(LPT_SEPARABLE_STAGE_LOW);
        op.stage_high = GET_SIGNED(LPT_SEPARABLE_STAGE_HIGH);
    }
    return op;
}

lpt_matmul lpt_matmul_of(const uint32_t *words)
{
    const lpt_matmul op = {
        .lhs_address = GET(LPT_MATMUL_LHS_ADDRESS),
        .lhs_row_stride = GET(LPT_MATMUL_LHS_ROW_STRIDE),
        .lhs_batch_stride = GET(LPT_MATMUL_LHS_BATCH_STRIDE),
        .rhs_address = GET(LPT_MATMUL_RHS_ADDRESS),
        .rhs_depth_stride = GET(LPT_MATMUL_RHS_DEPTH_STRIDE),
        .rhs_column_stride = GET(LPT_MATMUL_RHS_COLUMN_STRIDE),
        .rhs_batch_stride = GET(LPT_MATMUL_RHS_BATCH_STRIDE),
        .ofm_address = GET(LPT_MATMUL_OFM_ADDRESS),
        .ofm_row_stride = GET(LPT_MATMUL_OFM_ROW_STRIDE),
        .ofm_batch_stride = GET(LPT_MATMUL_OFM_BATCH_STRIDE),
        .batch = GET(LPT_MATMUL_BATCH),
        .rows = GET(LPT_MATMUL_ROWS),
        .columns = GET(LPT_MATMUL_COLUMNS),
        .depth = GET(LPT_MATMUL_DEPTH),
        .lhs_zero_point = GET_SIGNED(LPT_MATMUL_LHS_ZERO_POINT),
        .rhs_zero_point = GET_SIGNED(LPT_MATMUL_RHS_ZERO_POINT),
        .ofm_zero_point = GET_SIGNED(LPT_MATMUL_OFM_ZERO_POINT),
        .mode = GET(LPT_MATMUL_MODE),
        .clamp_low = GET_SIGNED(LPT_MATMUL_CLAMP_LOW),
        .clamp_high = GET_SIGNED(LPT_MATMUL_CLAMP_HIGH),
        .scale = GET(LPT_MATMUL_SCALE),
        .epilogue = GET(LPT_MATMUL_EPILOGUE),
        .table_address = GET(LPT_MATMUL_TABLE_ADDRESS),
    };

    return op;
}

lpt_elementwise lpt_elementwise_of(const uint32_t *words)
{
    const lpt_elementwise op = {
        .lhs = MAP(LPT_ELEMENTWISE_LHS),
        .rhs = MAP(LPT_ELEMENTWISE_RHS),
        .ofm = MAP(LPT_ELEMENTWISE_OFM),
        .height = GET(LPT_ELEMENTWISE_HEIGHT),
        .width = GET(LPT_ELEMENTWISE_WIDTH),
        .channels = GET(LPT_ELEMENTWISE_CHANNELS),
        .kind = GET(LPT_ELEMENTWISE_KIND),
        .epilogue = GET(LPT_ELEMENTWISE_EPILOGUE),
        .rhs_repeats_channel = GET(LPT_ELEMENTWISE_RHS_REPEATS_CHANNEL),
        .lhs_scale = GET(LPT_ELEMENTWISE_LHS_SCALE),
        .rhs_scale = GET(LPT_ELEMENTWISE_RHS_SCALE),
        .offset = GET(LPT_ELEMENTWISE_OFFSET),
        .lhs_zero_point = GET_SIGNED(LPT_ELEMENTWISE_LHS_ZERO_POINT),
        .rhs_zero_point = GET_SIGNED(LPT_ELEMENTWISE_RHS_ZERO_POINT),
        .clamp_low = GET_SIGNED(LPT_ELEMENTWISE_CLAMP_LOW),
        .clamp_high = GET_SIGNED(LPT_ELEMENTWISE_CLAMP_HIGH),
        .table_address = GET(LPT_ELEMENTWISE_TABLE_ADDRESS),
    };

    return op;
}

lpt_table lpt_table_of(const uint32_t *words)
{
    const lpt_table op = {
        .ifm = MAP(LPT_TABLE_IFM),
        .ofm = MAP(LPT_TABLE_OFM),
        .height = GET(LPT_TABLE_HEIGHT),
        .width = GET(LPT_TABLE_WIDTH),
        .channels = GET(LPT_TABLE_CHANNELS),
        .table_address = GET(LPT_TABLE_TABLE_ADDRESS),
    };

    return op;
}

lpt_dma lpt_dma_of(const uint32_t *words)
{
    const lpt_dma op = {
        .source = GET(LPT_DMA_SOURCE),
        .target = GET(LPT_DMA_TARGET),
        .run_bytes = GET(LPT_DMA_RUN_BYTES),
        .counts = {GET(LPT_DMA_COUNT1), GET(LPT_DMA_COUNT2), GET(LPT_DMA_COUNT3)},
        .source_strides = {GET_SIGNED(LPT_DMA_SOURCE_STRIDE1), GET_SIGNED(LPT_DMA_SOURCE_STRIDE2),
                           GET_SIGNED(LPT_DMA_SOURCE_STRIDE3)},
        .target_strides = {GET_SIGNED(LPT_DMA_TARGET_STRIDE1), GET_SIGNED(LPT_DMA_TARGET_STRIDE2),
                           GET_SIGNED(LPT_DMA_TARGET_STRIDE3)},
        .fill = GET(LPT_DMA_FILL),
        .fill_byte = GET(LPT_DMA_FILL_BYTE),
    };

    return op;
}
