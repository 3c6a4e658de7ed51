/* npu_isa.h: encodings of lepton-npu, docs/lepton-npu.md. Made from codegen/npu/isa by `make docs`.
 *
 * Field F of packet P is LPT_P_F: word, shift and mask, three arguments; its number is
 * (words[word] >> shift) & mask, two's complement of that width where the comment says signed.
 * LPT_P_RESERVED initializes an array of the bits that must be 0, by word.
 */
#ifndef LEPTON_NPU_ISA_H
#define LEPTON_NPU_ISA_H

/* Constants. */
#define LPT_ID_VALUE 0x4E54504Cu
#define LPT_ABI_MAJOR 1u
#define LPT_ABI_MINOR 0u
#define LPT_REGISTER_SPACE_BYTES 0x1000u
#define LPT_DEFAULT_WATCHDOG 0x40000000u
#define LPT_OFFSET_BITS 28u
#define LPT_NUM_REGIONS 16u
#define LPT_RESERVED_REGION 7u
#define LPT_NUM_COUNTERS 16u
#define LPT_MAX_PACKET_WORDS 36u

/* Bits 31:24 of word 0; all others fault: 0x10 to 0x7F are reserved, 0x80 on are for tests. */
#define LPT_OPCODE_NOP 0u
#define LPT_OPCODE_CHECK 1u
#define LPT_OPCODE_DMA 2u
#define LPT_OPCODE_CONV 3u
#define LPT_OPCODE_DEPTHWISE 4u
#define LPT_OPCODE_MATMUL 5u
#define LPT_OPCODE_ELEMENTWISE 6u
#define LPT_OPCODE_POOL 7u
#define LPT_OPCODE_TABLE 8u
#define LPT_OPCODE_SEPARABLE 9u
#define LPT_OPCODE_FENCE 12u
#define LPT_OPCODE_TRACE 13u
#define LPT_OPCODE_IRQ 14u
#define LPT_OPCODE_END 15u

/* FAULT_CODE; 0 means none. */
#define LPT_FAULT_NONE 0u
#define LPT_FAULT_BAD_OPCODE 1u
#define LPT_FAULT_SEQUENCE_GAP 2u
#define LPT_FAULT_PACKET_CRC 3u
#define LPT_FAULT_CHECK_MISSING 4u
#define LPT_FAULT_INCOMPATIBLE 5u
#define LPT_FAULT_REGION_TOO_SMALL 6u
#define LPT_FAULT_STREAM_END 7u
#define LPT_FAULT_READ_OUT_OF_BOUNDS 16u
#define LPT_FAULT_WRITE_OUT_OF_BOUNDS 17u
#define LPT_FAULT_WRITE_TO_READ_ONLY 18u
#define LPT_FAULT_MISALIGNED 19u
#define LPT_FAULT_BUS_ERROR 20u
#define LPT_FAULT_ILLEGAL_FIELD 32u
#define LPT_FAULT_EXCEEDS_CAPACITY 33u
#define LPT_FAULT_BAD_SCALE 34u
#define LPT_FAULT_WEIGHT_STREAM 35u
#define LPT_FAULT_RESERVED_BITS 36u
#define LPT_FAULT_WATCHDOG 48u
#define LPT_FAULT_TOKEN_DEADLOCK 49u
#define LPT_FAULT_TOKEN_OVERFLOW 50u
#define LPT_FAULT_SPM_PARITY 64u
#define LPT_FAULT_CONSTANTS_CRC 65u

/* The upper four bits of an address. */
#define LPT_REGION_STREAM 0u
#define LPT_REGION_CONSTANTS 1u
#define LPT_REGION_ARENA 2u
#define LPT_REGION_SPM 3u
#define LPT_REGION_WBUF 4u
#define LPT_REGION_STATE 5u
#define LPT_REGION_TRACE 6u
#define LPT_REGION_INPUT0 8u
#define LPT_REGION_INPUT1 9u
#define LPT_REGION_INPUT2 10u
#define LPT_REGION_INPUT3 11u
#define LPT_REGION_OUTPUT0 12u
#define LPT_REGION_OUTPUT1 13u
#define LPT_REGION_OUTPUT2 14u
#define LPT_REGION_OUTPUT3 15u

/* Bits of CTRL; each acts when 1 is written to it. */
#define LPT_CTRL_RUN 1u
#define LPT_CTRL_HALT 2u
#define LPT_CTRL_SOFT_RESET 4u

/* Bits 1:0 of STATUS. */
#define LPT_STATUS_IDLE 0u
#define LPT_STATUS_RUNNING 1u
#define LPT_STATUS_DONE 2u
#define LPT_STATUS_FAULT 3u

/* Bits of IRQ_RAW, IRQ_MASK and IRQ_CLEAR. */
#define LPT_IRQ_DONE 1u
#define LPT_IRQ_FAULT 2u
#define LPT_IRQ_USER 4u
#define LPT_IRQ_TRACE_FULL 8u

/* Bits of REGION_ATTR. */
#define LPT_REGION_ATTR_READ 1u
#define LPT_REGION_ATTR_WRITE 2u

/* Bits of CAPS0: what this device can execute beyond the base set. */
#define LPT_CAPABILITY_INT4_WEIGHTS 1u
#define LPT_CAPABILITY_CODED_WEIGHTS 2u
#define LPT_CAPABILITY_SEPARABLE 4u
#define LPT_CAPABILITY_MATMUL 8u
#define LPT_CAPABILITY_RINGS 16u
#define LPT_CAPABILITY_TRACE 32u

/* PMU_COUNT[i]. */
#define LPT_COUNTER_CYCLES 0u
#define LPT_COUNTER_MACS 1u
#define LPT_COUNTER_SETUP_CYCLES 2u
#define LPT_COUNTER_ARRAY_CYCLES 3u
#define LPT_COUNTER_EPILOGUE_STALLS 4u
#define LPT_COUNTER_SPM_STALLS 5u
#define LPT_COUNTER_WEIGHT_STALLS 6u
#define LPT_COUNTER_TOKEN_STALLS 7u
#define LPT_COUNTER_DMA_CYCLES 8u
#define LPT_COUNTER_PACKETS 9u
#define LPT_COUNTER_SPM_BYTES 10u
#define LPT_COUNTER_CONSTANT_BYTES 11u
#define LPT_COUNTER_SYSTEM_READ_BYTES 12u
#define LPT_COUNTER_SYSTEM_WRITE_BYTES 13u
#define LPT_COUNTER_WEIGHTS_DECODED 14u
#define LPT_COUNTER_OUTPUTS 15u

/* How a weight slice is stored. */
#define LPT_ENCODING_RAW8 0u
#define LPT_ENCODING_RAW4 1u
#define LPT_ENCODING_BITMAP 2u
#define LPT_ENCODING_PREFIX 3u

/* Kinds of ELEMENTWISE. */
#define LPT_ELEMENTWISE_ADD 0u
#define LPT_ELEMENTWISE_MUL 1u
#define LPT_ELEMENTWISE_MAX 2u
#define LPT_ELEMENTWISE_MIN 3u

/* Kinds of POOL. */
#define LPT_POOL_MAX 0u
#define LPT_POOL_SUM 1u

/* Bits of the field `epilogue`. */
#define LPT_EPILOGUE_RESIDUAL 1u
#define LPT_EPILOGUE_RESIDUAL_FIRST 2u
#define LPT_EPILOGUE_TABLE 4u
#define LPT_EPILOGUE_POOL2X2 8u

/* Registers: byte offsets. */
#define LPT_REG_ID 0x000u
#define LPT_REG_HWVER 0x004u
#define LPT_REG_ABI 0x008u
#define LPT_REG_CAPS0 0x00Cu
#define LPT_REG_CAPS1 0x010u
#define LPT_REG_CAPS2 0x014u
#define LPT_REG_CAPS3 0x018u
#define LPT_REG_BUILD 0x01Cu
#define LPT_REG_CTRL 0x020u
#define LPT_REG_STATUS 0x024u
#define LPT_REG_QBASE 0x028u
#define LPT_REG_QSIZE 0x02Cu
#define LPT_REG_QREAD 0x030u
#define LPT_REG_WDOG 0x034u
#define LPT_REG_IRQ_RAW 0x040u
#define LPT_REG_IRQ_MASK 0x044u
#define LPT_REG_IRQ_CLEAR 0x048u
#define LPT_REG_IRQ_TAG 0x04Cu
#define LPT_REG_FAULT_CODE 0x050u
#define LPT_REG_FAULT_PC 0x054u
#define LPT_REG_FAULT_ADDR 0x058u
#define LPT_REG_FAULT_INFO 0x05Cu
#define LPT_REG_PMU_CTRL 0x060u
#define LPT_REG_PMU_COUNT 0x080u
#define LPT_REG_PMU_COUNT_STRIDE 8u
#define LPT_REG_REGION_BASE 0x100u
#define LPT_REG_REGION_BASE_STRIDE 16u
#define LPT_REG_REGION_SIZE 0x104u
#define LPT_REG_REGION_SIZE_STRIDE 16u
#define LPT_REG_REGION_ATTR 0x108u
#define LPT_REG_REGION_ATTR_STRIDE 16u

/* Words 0 and 1 of every packet. */
#define LPT_HEADER_OPCODE 0u, 24u, 0xFFu /* what the packet does */
#define LPT_HEADER_LENGTH 0u, 16u, 0xFFu /* length in units of 16 bytes */
#define LPT_HEADER_SEQUENCE 0u, 0u, 0xFFFFu /* 0 in the first packet, then 1 more, mod 65536 */
#define LPT_HEADER_LAYER 1u, 16u, 0xFFFFu /* layer of the payload's layer map */
#define LPT_HEADER_WAIT 1u, 8u, 0xFFu /* token counters to take one from */
#define LPT_HEADER_SIGNAL 1u, 0u, 0xFFu /* token counters to add one to */

/* NOP: Does nothing; waits and signals as others. */
#define LPT_NOP_WORDS 4u
#define LPT_NOP_RESERVED {0x0u, 0x0u, 0xFFFFFFFFu, 0x0u}

/* CHECK: Must be the first packet, and no other: what the stream needs of the device. */
#define LPT_CHECK_WORDS 36u
#define LPT_CHECK_RESERVED {0x0u, 0x0u, 0x0u, 0xFFFF0000u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFF0000u, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x0u}
#define LPT_CHECK_ABI_MAJOR 2u, 16u, 0xFFFFu /* equal to the device's */
#define LPT_CHECK_ABI_MINOR 2u, 0u, 0xFFFFu /* at most its own */
#define LPT_CHECK_MACS 3u, 0u, 0xFFFFu /* MACs a cycle, equal to the device's */
#define LPT_CHECK_CAPABILITIES 4u, 0u, 0xFFFFFFFFu /* bits of CAPS0 that the stream needs */
#define LPT_CHECK_SPM_BYTES 5u, 0u, 0xFFFFFFFFu /* scratchpad that the stream uses */
#define LPT_CHECK_WBUF_BYTES 6u, 0u, 0xFFFFFFFFu /* weight buffer that the stream uses */
#define LPT_CHECK_STREAM_BYTES 7u, 0u, 0xFFFFFFFFu /* bytes of the stream, this packet included */
#define LPT_CHECK_STREAM_CRC 8u, 0u, 0xFFFFFFFFu /* CRC-32C of the stream after this packet */
#define LPT_CHECK_REGION0_BYTES 9u, 0u, 0xFFFFFFFFu /* least size of region 0 */
#define LPT_CHECK_REGION1_BYTES 10u, 0u, 0xFFFFFFFFu /* least size of region 1 */
#define LPT_CHECK_REGION2_BYTES 11u, 0u, 0xFFFFFFFFu /* least size of region 2 */
#define LPT_CHECK_REGION3_BYTES 12u, 0u, 0xFFFFFFFFu /* least size of region 3 */
#define LPT_CHECK_REGION4_BYTES 13u, 0u, 0xFFFFFFFFu /* least size of region 4 */
#define LPT_CHECK_REGION5_BYTES 14u, 0u, 0xFFFFFFFFu /* least size of region 5 */
#define LPT_CHECK_REGION6_BYTES 15u, 0u, 0xFFFFFFFFu /* least size of region 6 */
#define LPT_CHECK_REGION7_BYTES 16u, 0u, 0xFFFFFFFFu /* least size of region 7 */
#define LPT_CHECK_REGION8_BYTES 17u, 0u, 0xFFFFFFFFu /* least size of region 8 */
#define LPT_CHECK_REGION9_BYTES 18u, 0u, 0xFFFFFFFFu /* least size of region 9 */
#define LPT_CHECK_REGION10_BYTES 19u, 0u, 0xFFFFFFFFu /* least size of region 10 */
#define LPT_CHECK_REGION11_BYTES 20u, 0u, 0xFFFFFFFFu /* least size of region 11 */
#define LPT_CHECK_REGION12_BYTES 21u, 0u, 0xFFFFFFFFu /* least size of region 12 */
#define LPT_CHECK_REGION13_BYTES 22u, 0u, 0xFFFFFFFFu /* least size of region 13 */
#define LPT_CHECK_REGION14_BYTES 23u, 0u, 0xFFFFFFFFu /* least size of region 14 */
#define LPT_CHECK_REGION15_BYTES 24u, 0u, 0xFFFFFFFFu /* least size of region 15 */
#define LPT_CHECK_WRITE_MASK 25u, 0u, 0xFFFFu /* regions that the stream writes */

/* DMA: Copies or fills bytes between regions: runs in three loops, loop 3 outermost. */
#define LPT_DMA_WORDS 20u
#define LPT_DMA_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFFFE00u, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x0u}
#define LPT_DMA_SOURCE 2u, 0u, 0xFFFFFFFFu /* first byte read; not used if fill is 1 */
#define LPT_DMA_TARGET 3u, 0u, 0xFFFFFFFFu /* first byte written */
#define LPT_DMA_RUN_BYTES 4u, 0u, 0xFFFFFFFFu /* contiguous bytes of the innermost loop, at least 1 */
#define LPT_DMA_COUNT1 5u, 0u, 0xFFFFFFFFu /* iterations of loop 1 */
#define LPT_DMA_COUNT2 6u, 0u, 0xFFFFFFFFu /* iterations of loop 2 */
#define LPT_DMA_COUNT3 7u, 0u, 0xFFFFFFFFu /* iterations of loop 3 */
#define LPT_DMA_SOURCE_STRIDE1 8u, 0u, 0xFFFFFFFFu /* signed; bytes a step */
#define LPT_DMA_SOURCE_STRIDE2 9u, 0u, 0xFFFFFFFFu /* signed; bytes a step */
#define LPT_DMA_SOURCE_STRIDE3 10u, 0u, 0xFFFFFFFFu /* signed; bytes a step */
#define LPT_DMA_TARGET_STRIDE1 11u, 0u, 0xFFFFFFFFu /* signed; bytes a step */
#define LPT_DMA_TARGET_STRIDE2 12u, 0u, 0xFFFFFFFFu /* signed; bytes a step */
#define LPT_DMA_TARGET_STRIDE3 13u, 0u, 0xFFFFFFFFu /* signed; bytes a step */
#define LPT_DMA_FILL 14u, 8u, 0x1u /* 1: write fill_byte instead of what is read */
#define LPT_DMA_FILL_BYTE 14u, 0u, 0xFFu /* the byte */

/* CONV: Convolution with its epilogue; a fully connected layer is a 1x1 convolution. */
#define LPT_CONV_WORDS 32u
#define LPT_CONV_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0x0u}
#define LPT_CONV_IFM_ADDRESS 2u, 0u, 0xFFFFFFFFu /* input, in SPM: element (0, 0, 0) */
#define LPT_CONV_IFM_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_CONV_IFM_PIXEL_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_CONV_IFM_HEIGHT 5u, 16u, 0xFFFFu /* rows of the input */
#define LPT_CONV_IFM_WIDTH 5u, 0u, 0xFFFFu /* columns of the input */
#define LPT_CONV_IFM_CHANNELS 6u, 0u, 0xFFFFu /* channels of the input, all groups */
#define LPT_CONV_OFM_ADDRESS 7u, 0u, 0xFFFFFFFFu /* result, in SPM: element (0, 0, 0) */
#define LPT_CONV_OFM_ROW_STRIDE 8u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_CONV_OFM_PIXEL_STRIDE 9u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_CONV_OFM_HEIGHT 10u, 16u, 0xFFFFu /* rows that are stored */
#define LPT_CONV_OFM_WIDTH 10u, 0u, 0xFFFFu /* columns that are stored */
#define LPT_CONV_OFM_CHANNELS 6u, 16u, 0xFFFFu /* channels of the result */
#define LPT_CONV_KERNEL_HEIGHT 11u, 24u, 0xFFu /* 1 to 255 */
#define LPT_CONV_KERNEL_WIDTH 11u, 16u, 0xFFu /* 1 to 255 */
#define LPT_CONV_STRIDE_Y 11u, 8u, 0xFFu /* 1 to 255 */
#define LPT_CONV_STRIDE_X 11u, 0u, 0xFFu /* 1 to 255 */
#define LPT_CONV_DILATION_Y 12u, 24u, 0xFFu /* 1 to 255 */
#define LPT_CONV_DILATION_X 12u, 16u, 0xFFu /* 1 to 255 */
#define LPT_CONV_UPSAMPLE_Y 12u, 8u, 0xFFu /* 1 to 4: zero_point rows put between input rows, plus 1 */
#define LPT_CONV_UPSAMPLE_X 12u, 0u, 0xFFu /* 1 to 4: the same of columns */
#define LPT_CONV_PAD_TOP 13u, 16u, 0xFFFFu /* signed; rows before the input; negative: rows skipped */
#define LPT_CONV_PAD_LEFT 13u, 0u, 0xFFFFu /* signed; columns before the input; negative: columns skipped */
#define LPT_CONV_OFM_ZERO_POINT 14u, 16u, 0xFFFFu /* signed; added after rounding */
#define LPT_CONV_IFM_ZERO_POINT 14u, 0u, 0xFFFFu /* signed; taken from each input element; what padding counts as */
#define LPT_CONV_CLAMP_LOW 15u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_CONV_CLAMP_HIGH 15u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_CONV_WEIGHTS_ADDRESS 16u, 0u, 0xFFFFFFFFu /* weight slice, in WBUF or SPM, 4-byte aligned */
#define LPT_CONV_WEIGHTS_BYTES 17u, 0u, 0xFFFFFFFFu /* bytes of the slice, channel table included */
#define LPT_CONV_MODE 18u, 28u, 0xFu /* array mode of the member */
#define LPT_CONV_ENCODING 18u, 24u, 0xFu /* Encoding of the slice */
#define LPT_CONV_EPILOGUE 18u, 16u, 0xFFu /* Epilogue flags */
#define LPT_CONV_GROUPS 18u, 0u, 0xFFFFu /* groups of channels; 1 in DEPTHWISE and SEPARABLE */
#define LPT_CONV_RESIDUAL_ADDRESS 19u, 0u, 0xFFFFFFFFu /* operand of the fused addition: element (0, 0, 0) */
#define LPT_CONV_RESIDUAL_ROW_STRIDE 20u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_CONV_RESIDUAL_PIXEL_STRIDE 21u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_CONV_RESULT_SCALE 22u, 0u, 0xFFFFFFFFu /* scale of the convolution's result in the addition */
#define LPT_CONV_RESIDUAL_SCALE 23u, 0u, 0xFFFFFFFFu /* scale of the residual in the addition */
#define LPT_CONV_ADD_OFFSET 24u, 0u, 0xFFFFFFFFu /* offset of the addition */
#define LPT_CONV_ADD_LOW 25u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_CONV_ADD_HIGH 25u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_CONV_TABLE_ADDRESS 26u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM */
#define LPT_CONV_IFM_RING_ROWS 27u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_CONV_IFM_RING_START 27u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_CONV_OFM_RING_ROWS 28u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_CONV_OFM_RING_START 28u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_CONV_RESIDUAL_RING_ROWS 29u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_CONV_RESIDUAL_RING_START 29u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */

/* DEPTHWISE: Convolution of each channel by itself: ofm_channels = ifm_channels, groups = 1. */
#define LPT_DEPTHWISE_WORDS 32u
#define LPT_DEPTHWISE_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0x0u}
#define LPT_DEPTHWISE_IFM_ADDRESS 2u, 0u, 0xFFFFFFFFu /* input, in SPM: element (0, 0, 0) */
#define LPT_DEPTHWISE_IFM_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_DEPTHWISE_IFM_PIXEL_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_DEPTHWISE_IFM_HEIGHT 5u, 16u, 0xFFFFu /* rows of the input */
#define LPT_DEPTHWISE_IFM_WIDTH 5u, 0u, 0xFFFFu /* columns of the input */
#define LPT_DEPTHWISE_IFM_CHANNELS 6u, 0u, 0xFFFFu /* channels of the input, all groups */
#define LPT_DEPTHWISE_OFM_ADDRESS 7u, 0u, 0xFFFFFFFFu /* result, in SPM: element (0, 0, 0) */
#define LPT_DEPTHWISE_OFM_ROW_STRIDE 8u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_DEPTHWISE_OFM_PIXEL_STRIDE 9u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_DEPTHWISE_OFM_HEIGHT 10u, 16u, 0xFFFFu /* rows that are stored */
#define LPT_DEPTHWISE_OFM_WIDTH 10u, 0u, 0xFFFFu /* columns that are stored */
#define LPT_DEPTHWISE_OFM_CHANNELS 6u, 16u, 0xFFFFu /* channels of the result */
#define LPT_DEPTHWISE_KERNEL_HEIGHT 11u, 24u, 0xFFu /* 1 to 255 */
#define LPT_DEPTHWISE_KERNEL_WIDTH 11u, 16u, 0xFFu /* 1 to 255 */
#define LPT_DEPTHWISE_STRIDE_Y 11u, 8u, 0xFFu /* 1 to 255 */
#define LPT_DEPTHWISE_STRIDE_X 11u, 0u, 0xFFu /* 1 to 255 */
#define LPT_DEPTHWISE_DILATION_Y 12u, 24u, 0xFFu /* 1 to 255 */
#define LPT_DEPTHWISE_DILATION_X 12u, 16u, 0xFFu /* 1 to 255 */
#define LPT_DEPTHWISE_UPSAMPLE_Y 12u, 8u, 0xFFu /* 1 to 4: zero_point rows put between input rows, plus 1 */
#define LPT_DEPTHWISE_UPSAMPLE_X 12u, 0u, 0xFFu /* 1 to 4: the same of columns */
#define LPT_DEPTHWISE_PAD_TOP 13u, 16u, 0xFFFFu /* signed; rows before the input; negative: rows skipped */
#define LPT_DEPTHWISE_PAD_LEFT 13u, 0u, 0xFFFFu /* signed; columns before the input; negative: columns skipped */
#define LPT_DEPTHWISE_OFM_ZERO_POINT 14u, 16u, 0xFFFFu /* signed; added after rounding */
#define LPT_DEPTHWISE_IFM_ZERO_POINT 14u, 0u, 0xFFFFu /* signed; taken from each input element; what padding counts as */
#define LPT_DEPTHWISE_CLAMP_LOW 15u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_DEPTHWISE_CLAMP_HIGH 15u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_DEPTHWISE_WEIGHTS_ADDRESS 16u, 0u, 0xFFFFFFFFu /* weight slice, in WBUF or SPM, 4-byte aligned */
#define LPT_DEPTHWISE_WEIGHTS_BYTES 17u, 0u, 0xFFFFFFFFu /* bytes of the slice, channel table included */
#define LPT_DEPTHWISE_MODE 18u, 28u, 0xFu /* array mode of the member */
#define LPT_DEPTHWISE_ENCODING 18u, 24u, 0xFu /* Encoding of the slice */
#define LPT_DEPTHWISE_EPILOGUE 18u, 16u, 0xFFu /* Epilogue flags */
#define LPT_DEPTHWISE_GROUPS 18u, 0u, 0xFFFFu /* groups of channels; 1 in DEPTHWISE and SEPARABLE */
#define LPT_DEPTHWISE_RESIDUAL_ADDRESS 19u, 0u, 0xFFFFFFFFu /* operand of the fused addition: element (0, 0, 0) */
#define LPT_DEPTHWISE_RESIDUAL_ROW_STRIDE 20u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_DEPTHWISE_RESIDUAL_PIXEL_STRIDE 21u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_DEPTHWISE_RESULT_SCALE 22u, 0u, 0xFFFFFFFFu /* scale of the convolution's result in the addition */
#define LPT_DEPTHWISE_RESIDUAL_SCALE 23u, 0u, 0xFFFFFFFFu /* scale of the residual in the addition */
#define LPT_DEPTHWISE_ADD_OFFSET 24u, 0u, 0xFFFFFFFFu /* offset of the addition */
#define LPT_DEPTHWISE_ADD_LOW 25u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_DEPTHWISE_ADD_HIGH 25u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_DEPTHWISE_TABLE_ADDRESS 26u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM */
#define LPT_DEPTHWISE_IFM_RING_ROWS 27u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_DEPTHWISE_IFM_RING_START 27u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_DEPTHWISE_OFM_RING_ROWS 28u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_DEPTHWISE_OFM_RING_START 28u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_DEPTHWISE_RESIDUAL_RING_ROWS 29u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_DEPTHWISE_RESIDUAL_RING_START 29u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */

/* SEPARABLE: Depthwise convolution by the window, then a 1x1 convolution of its result, which is never stored. */
#define LPT_SEPARABLE_WORDS 36u
#define LPT_SEPARABLE_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0x0u, 0x0u, 0xFF0000u, 0x0u, 0x0u}
#define LPT_SEPARABLE_IFM_ADDRESS 2u, 0u, 0xFFFFFFFFu /* input, in SPM: element (0, 0, 0) */
#define LPT_SEPARABLE_IFM_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_SEPARABLE_IFM_PIXEL_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_SEPARABLE_IFM_HEIGHT 5u, 16u, 0xFFFFu /* rows of the input */
#define LPT_SEPARABLE_IFM_WIDTH 5u, 0u, 0xFFFFu /* columns of the input */
#define LPT_SEPARABLE_IFM_CHANNELS 6u, 0u, 0xFFFFu /* channels of the input, all groups */
#define LPT_SEPARABLE_OFM_ADDRESS 7u, 0u, 0xFFFFFFFFu /* result, in SPM: element (0, 0, 0) */
#define LPT_SEPARABLE_OFM_ROW_STRIDE 8u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_SEPARABLE_OFM_PIXEL_STRIDE 9u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_SEPARABLE_OFM_HEIGHT 10u, 16u, 0xFFFFu /* rows that are stored */
#define LPT_SEPARABLE_OFM_WIDTH 10u, 0u, 0xFFFFu /* columns that are stored */
#define LPT_SEPARABLE_OFM_CHANNELS 6u, 16u, 0xFFFFu /* channels of the result */
#define LPT_SEPARABLE_KERNEL_HEIGHT 11u, 24u, 0xFFu /* 1 to 255 */
#define LPT_SEPARABLE_KERNEL_WIDTH 11u, 16u, 0xFFu /* 1 to 255 */
#define LPT_SEPARABLE_STRIDE_Y 11u, 8u, 0xFFu /* 1 to 255 */
#define LPT_SEPARABLE_STRIDE_X 11u, 0u, 0xFFu /* 1 to 255 */
#define LPT_SEPARABLE_DILATION_Y 12u, 24u, 0xFFu /* 1 to 255 */
#define LPT_SEPARABLE_DILATION_X 12u, 16u, 0xFFu /* 1 to 255 */
#define LPT_SEPARABLE_UPSAMPLE_Y 12u, 8u, 0xFFu /* 1 to 4: zero_point rows put between input rows, plus 1 */
#define LPT_SEPARABLE_UPSAMPLE_X 12u, 0u, 0xFFu /* 1 to 4: the same of columns */
#define LPT_SEPARABLE_PAD_TOP 13u, 16u, 0xFFFFu /* signed; rows before the input; negative: rows skipped */
#define LPT_SEPARABLE_PAD_LEFT 13u, 0u, 0xFFFFu /* signed; columns before the input; negative: columns skipped */
#define LPT_SEPARABLE_OFM_ZERO_POINT 14u, 16u, 0xFFFFu /* signed; added after rounding */
#define LPT_SEPARABLE_IFM_ZERO_POINT 14u, 0u, 0xFFFFu /* signed; taken from each input element; what padding counts as */
#define LPT_SEPARABLE_CLAMP_LOW 15u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_SEPARABLE_CLAMP_HIGH 15u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_SEPARABLE_WEIGHTS_ADDRESS 16u, 0u, 0xFFFFFFFFu /* weight slice, in WBUF or SPM, 4-byte aligned */
#define LPT_SEPARABLE_WEIGHTS_BYTES 17u, 0u, 0xFFFFFFFFu /* bytes of the slice, channel table included */
#define LPT_SEPARABLE_MODE 18u, 28u, 0xFu /* array mode of the member */
#define LPT_SEPARABLE_ENCODING 18u, 24u, 0xFu /* Encoding of the slice */
#define LPT_SEPARABLE_EPILOGUE 18u, 16u, 0xFFu /* Epilogue flags */
#define LPT_SEPARABLE_GROUPS 18u, 0u, 0xFFFFu /* groups of channels; 1 in DEPTHWISE and SEPARABLE */
#define LPT_SEPARABLE_RESIDUAL_ADDRESS 19u, 0u, 0xFFFFFFFFu /* operand of the fused addition: element (0, 0, 0) */
#define LPT_SEPARABLE_RESIDUAL_ROW_STRIDE 20u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_SEPARABLE_RESIDUAL_PIXEL_STRIDE 21u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_SEPARABLE_RESULT_SCALE 22u, 0u, 0xFFFFFFFFu /* scale of the convolution's result in the addition */
#define LPT_SEPARABLE_RESIDUAL_SCALE 23u, 0u, 0xFFFFFFFFu /* scale of the residual in the addition */
#define LPT_SEPARABLE_ADD_OFFSET 24u, 0u, 0xFFFFFFFFu /* offset of the addition */
#define LPT_SEPARABLE_ADD_LOW 25u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_SEPARABLE_ADD_HIGH 25u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_SEPARABLE_TABLE_ADDRESS 26u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM */
#define LPT_SEPARABLE_IFM_RING_ROWS 27u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_SEPARABLE_IFM_RING_START 27u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_SEPARABLE_OFM_RING_ROWS 28u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_SEPARABLE_OFM_RING_START 28u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_SEPARABLE_RESIDUAL_RING_ROWS 29u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_SEPARABLE_RESIDUAL_RING_START 29u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_SEPARABLE_STAGE_WEIGHTS_ADDRESS 31u, 0u, 0xFFFFFFFFu /* depthwise slice, in WBUF or SPM, 4-byte aligned */
#define LPT_SEPARABLE_STAGE_WEIGHTS_BYTES 32u, 0u, 0xFFFFFFFFu /* bytes of the depthwise slice */
#define LPT_SEPARABLE_STAGE_MODE 33u, 28u, 0xFu /* depthwise mode of the member */
#define LPT_SEPARABLE_STAGE_ENCODING 33u, 24u, 0xFu /* Encoding of the depthwise slice */
#define LPT_SEPARABLE_STAGE_ZERO_POINT 33u, 0u, 0xFFFFu /* signed; zero point of the depthwise result */
#define LPT_SEPARABLE_STAGE_LOW 34u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_SEPARABLE_STAGE_HIGH 34u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */

/* MATMUL: Product of two activations, each i8 with a zero point. */
#define LPT_MATMUL_WORDS 28u
#define LPT_MATMUL_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFF0u, 0x0u, 0x0u, 0xFFFFFF00u, 0x0u, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x0u}
#define LPT_MATMUL_LHS_ADDRESS 2u, 0u, 0xFFFFFFFFu /* [batch, rows, depth], in SPM */
#define LPT_MATMUL_LHS_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes */
#define LPT_MATMUL_LHS_BATCH_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes */
#define LPT_MATMUL_RHS_ADDRESS 5u, 0u, 0xFFFFFFFFu /* [batch, depth, columns], in SPM */
#define LPT_MATMUL_RHS_DEPTH_STRIDE 6u, 0u, 0xFFFFFFFFu /* bytes from a product to the next */
#define LPT_MATMUL_RHS_COLUMN_STRIDE 7u, 0u, 0xFFFFFFFFu /* bytes from a column to the next */
#define LPT_MATMUL_RHS_BATCH_STRIDE 8u, 0u, 0xFFFFFFFFu /* bytes */
#define LPT_MATMUL_OFM_ADDRESS 9u, 0u, 0xFFFFFFFFu /* [batch, rows, columns], in SPM */
#define LPT_MATMUL_OFM_ROW_STRIDE 10u, 0u, 0xFFFFFFFFu /* bytes */
#define LPT_MATMUL_OFM_BATCH_STRIDE 11u, 0u, 0xFFFFFFFFu /* bytes */
#define LPT_MATMUL_BATCH 12u, 16u, 0xFFFFu /* matrices */
#define LPT_MATMUL_ROWS 12u, 0u, 0xFFFFu /* rows of lhs and the result */
#define LPT_MATMUL_COLUMNS 13u, 16u, 0xFFFFu /* columns of rhs and the result */
#define LPT_MATMUL_DEPTH 13u, 0u, 0xFFFFu /* products */
#define LPT_MATMUL_LHS_ZERO_POINT 14u, 16u, 0xFFFFu /* signed; taken from each element of lhs */
#define LPT_MATMUL_RHS_ZERO_POINT 14u, 0u, 0xFFFFu /* signed; taken from each element of rhs */
#define LPT_MATMUL_OFM_ZERO_POINT 15u, 16u, 0xFFFFu /* signed; added after rounding */
#define LPT_MATMUL_MODE 15u, 0u, 0xFu /* array mode of the member */
#define LPT_MATMUL_CLAMP_LOW 16u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_MATMUL_CLAMP_HIGH 16u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_MATMUL_SCALE 17u, 0u, 0xFFFFFFFFu /* scale of the sums */
#define LPT_MATMUL_EPILOGUE 18u, 0u, 0xFFu /* Epilogue flags: TABLE or none */
#define LPT_MATMUL_TABLE_ADDRESS 19u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM */

/* ELEMENTWISE: Element by element of two maps. */
#define LPT_ELEMENTWISE_WORDS 28u
#define LPT_ELEMENTWISE_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFF0000u, 0xFFFEu, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x0u}
#define LPT_ELEMENTWISE_LHS_ADDRESS 2u, 0u, 0xFFFFFFFFu /* first operand, in SPM: element (0, 0, 0) */
#define LPT_ELEMENTWISE_LHS_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_ELEMENTWISE_LHS_PIXEL_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_ELEMENTWISE_RHS_ADDRESS 5u, 0u, 0xFFFFFFFFu /* second operand, in SPM; a stride of 0 repeats: element (0, 0, 0) */
#define LPT_ELEMENTWISE_RHS_ROW_STRIDE 6u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_ELEMENTWISE_RHS_PIXEL_STRIDE 7u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_ELEMENTWISE_OFM_ADDRESS 8u, 0u, 0xFFFFFFFFu /* result, in SPM: element (0, 0, 0) */
#define LPT_ELEMENTWISE_OFM_ROW_STRIDE 9u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_ELEMENTWISE_OFM_PIXEL_STRIDE 10u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_ELEMENTWISE_HEIGHT 11u, 16u, 0xFFFFu /* rows */
#define LPT_ELEMENTWISE_WIDTH 11u, 0u, 0xFFFFu /* columns */
#define LPT_ELEMENTWISE_CHANNELS 12u, 0u, 0xFFFFu /* channels */
#define LPT_ELEMENTWISE_KIND 13u, 24u, 0xFFu /* Elementwise */
#define LPT_ELEMENTWISE_EPILOGUE 13u, 16u, 0xFFu /* Epilogue flags: TABLE or none */
#define LPT_ELEMENTWISE_RHS_REPEATS_CHANNEL 13u, 0u, 0x1u /* 1: rhs has one channel */
#define LPT_ELEMENTWISE_LHS_SCALE 14u, 0u, 0xFFFFFFFFu /* ADD: scale of lhs. MUL: scale of the product */
#define LPT_ELEMENTWISE_RHS_SCALE 15u, 0u, 0xFFFFFFFFu /* ADD: scale of rhs; else 0 */
#define LPT_ELEMENTWISE_OFFSET 16u, 0u, 0xFFFFFFFFu /* ADD: offset. MUL: zero point of the result; else 0 */
#define LPT_ELEMENTWISE_LHS_ZERO_POINT 17u, 16u, 0xFFFFu /* signed; MUL only */
#define LPT_ELEMENTWISE_RHS_ZERO_POINT 17u, 0u, 0xFFFFu /* signed; MUL only */
#define LPT_ELEMENTWISE_CLAMP_LOW 18u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_ELEMENTWISE_CLAMP_HIGH 18u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_ELEMENTWISE_TABLE_ADDRESS 19u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM */
#define LPT_ELEMENTWISE_LHS_RING_ROWS 20u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_ELEMENTWISE_LHS_RING_START 20u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_ELEMENTWISE_RHS_RING_ROWS 21u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_ELEMENTWISE_RHS_RING_START 21u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_ELEMENTWISE_OFM_RING_ROWS 22u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_ELEMENTWISE_OFM_RING_START 22u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */

/* POOL: Greatest element or scaled sum of each window; what lies outside counts nothing. */
#define LPT_POOL_WORDS 24u
#define LPT_POOL_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0x0u, 0xFFFFu, 0x0u, 0x0u, 0x0u, 0xFFFFu, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0x0u}
#define LPT_POOL_IFM_ADDRESS 2u, 0u, 0xFFFFFFFFu /* input, in SPM: element (0, 0, 0) */
#define LPT_POOL_IFM_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_POOL_IFM_PIXEL_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_POOL_IFM_HEIGHT 5u, 16u, 0xFFFFu /* rows of the input */
#define LPT_POOL_IFM_WIDTH 5u, 0u, 0xFFFFu /* columns of the input */
#define LPT_POOL_IFM_CHANNELS 6u, 0u, 0xFFFFu /* channels of the input, all groups */
#define LPT_POOL_OFM_ADDRESS 7u, 0u, 0xFFFFFFFFu /* result, in SPM: element (0, 0, 0) */
#define LPT_POOL_OFM_ROW_STRIDE 8u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_POOL_OFM_PIXEL_STRIDE 9u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_POOL_OFM_HEIGHT 10u, 16u, 0xFFFFu /* rows that are stored */
#define LPT_POOL_OFM_WIDTH 10u, 0u, 0xFFFFu /* columns that are stored */
#define LPT_POOL_OFM_CHANNELS 6u, 16u, 0xFFFFu /* channels of the result */
#define LPT_POOL_KERNEL_HEIGHT 11u, 24u, 0xFFu /* 1 to 255 */
#define LPT_POOL_KERNEL_WIDTH 11u, 16u, 0xFFu /* 1 to 255 */
#define LPT_POOL_STRIDE_Y 11u, 8u, 0xFFu /* 1 to 255 */
#define LPT_POOL_STRIDE_X 11u, 0u, 0xFFu /* 1 to 255 */
#define LPT_POOL_PAD_TOP 13u, 16u, 0xFFFFu /* signed; rows before the input; negative: rows skipped */
#define LPT_POOL_PAD_LEFT 13u, 0u, 0xFFFFu /* signed; columns before the input; negative: columns skipped */
#define LPT_POOL_OFM_ZERO_POINT 14u, 16u, 0xFFFFu /* signed; SUM: added after rounding */
#define LPT_POOL_CLAMP_LOW 15u, 16u, 0xFFFFu /* signed; least result, -128 to 127 */
#define LPT_POOL_CLAMP_HIGH 15u, 0u, 0xFFFFu /* signed; greatest result, -128 to 127, not below the least */
#define LPT_POOL_SUM_ZERO_POINT 16u, 0u, 0xFFFFFFFFu /* signed; SUM: taken from the sum */
#define LPT_POOL_SCALE 17u, 0u, 0xFFFFFFFFu /* SUM: scale of the sum */
#define LPT_POOL_MODE 18u, 28u, 0xFu /* depthwise mode of the member */
#define LPT_POOL_KIND 18u, 24u, 0xFu /* Pool */
#define LPT_POOL_EPILOGUE 18u, 16u, 0xFFu /* Epilogue flags: TABLE or none */
#define LPT_POOL_TABLE_ADDRESS 19u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM */
#define LPT_POOL_IFM_RING_ROWS 20u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_POOL_IFM_RING_START 20u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_POOL_OFM_RING_ROWS 21u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_POOL_OFM_RING_START 21u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */

/* TABLE: Any function of one element. */
#define LPT_TABLE_WORDS 20u
#define LPT_TABLE_RESERVED {0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0x0u, 0xFFFF0000u, 0x0u, 0x0u, 0x0u, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x0u}
#define LPT_TABLE_IFM_ADDRESS 2u, 0u, 0xFFFFFFFFu /* input, in SPM: element (0, 0, 0) */
#define LPT_TABLE_IFM_ROW_STRIDE 3u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_TABLE_IFM_PIXEL_STRIDE 4u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_TABLE_OFM_ADDRESS 5u, 0u, 0xFFFFFFFFu /* result, in SPM: element (0, 0, 0) */
#define LPT_TABLE_OFM_ROW_STRIDE 6u, 0u, 0xFFFFFFFFu /* bytes from a row to the next */
#define LPT_TABLE_OFM_PIXEL_STRIDE 7u, 0u, 0xFFFFFFFFu /* bytes from a pixel to the next */
#define LPT_TABLE_HEIGHT 8u, 16u, 0xFFFFu /* rows */
#define LPT_TABLE_WIDTH 8u, 0u, 0xFFFFu /* columns */
#define LPT_TABLE_CHANNELS 9u, 0u, 0xFFFFu /* channels */
#define LPT_TABLE_TABLE_ADDRESS 10u, 0u, 0xFFFFFFFFu /* 256 bytes in WBUF or SPM: entry x + 128 */
#define LPT_TABLE_IFM_RING_ROWS 11u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_TABLE_IFM_RING_START 11u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */
#define LPT_TABLE_OFM_RING_ROWS 12u, 16u, 0xFFFFu /* rows of the ring that holds the map, 0: it is no ring */
#define LPT_TABLE_OFM_RING_START 12u, 0u, 0xFFFFu /* row of the ring that holds row 0, below ring_rows */

/* FENCE: Both queues end what they have before either goes on. */
#define LPT_FENCE_WORDS 4u
#define LPT_FENCE_RESERVED {0x0u, 0x0u, 0xFFFFFFFFu, 0x0u}

/* TRACE: Appends 16 bytes to TRACE: layer and sequence, tag, cycle (64 bits). */
#define LPT_TRACE_WORDS 4u
#define LPT_TRACE_RESERVED {0x0u, 0x0u, 0x0u, 0x0u}
#define LPT_TRACE_TAG 2u, 0u, 0xFFFFFFFFu /* number to record */

/* IRQ: Raises USER, sets IRQ_TAG. */
#define LPT_IRQ_WORDS 4u
#define LPT_IRQ_RESERVED {0x0u, 0x0u, 0x0u, 0x0u}
#define LPT_IRQ_TAG 2u, 0u, 0xFFFFFFFFu /* number for the host */

/* END: The last packet: state DONE, interrupt DONE. */
#define LPT_END_WORDS 4u
#define LPT_END_RESERVED {0x0u, 0x0u, 0xFFFFFFFFu, 0x0u}

/* The family: member(macs, lanes, SPM bytes a cycle, SPM bytes, WBUF bytes, accumulators, line buffer bytes, decoder weights). */
#define LPT_FAMILY(member) \
    member(64u, 4u, 8u, 131072u, 8192u, 1024u, 4096u, 8u) \
    member(128u, 8u, 16u, 262144u, 16384u, 2048u, 8192u, 16u) \
    member(256u, 16u, 32u, 393216u, 32768u, 4096u, 16384u, 32u) \
    member(1024u, 64u, 128u, 1048576u, 65536u, 16384u, 65536u, 128u)

/* Array modes of a member: mode(pixel rows, pixel columns, outputs, depth). */
#define LPT_MODES_64(mode) \
    mode(1u, 1u, 8u, 8u) \
    mode(1u, 1u, 4u, 16u) \
    mode(1u, 1u, 16u, 4u) \
    mode(1u, 2u, 8u, 4u) \
    mode(1u, 2u, 4u, 8u) \
    mode(1u, 4u, 4u, 4u) \
    mode(1u, 4u, 8u, 2u)
#define LPT_MODES_128(mode) \
    mode(1u, 1u, 16u, 8u) \
    mode(1u, 1u, 8u, 16u) \
    mode(1u, 1u, 32u, 4u) \
    mode(1u, 2u, 8u, 8u) \
    mode(1u, 2u, 16u, 4u) \
    mode(1u, 4u, 8u, 4u) \
    mode(1u, 8u, 8u, 2u)
#define LPT_MODES_256(mode) \
    mode(1u, 1u, 16u, 16u) \
    mode(1u, 1u, 32u, 8u) \
    mode(1u, 2u, 16u, 8u) \
    mode(1u, 2u, 8u, 16u) \
    mode(1u, 4u, 16u, 4u) \
    mode(1u, 4u, 8u, 8u) \
    mode(1u, 8u, 8u, 4u)
#define LPT_MODES_1024(mode) \
    mode(1u, 2u, 32u, 16u) \
    mode(1u, 1u, 32u, 32u) \
    mode(1u, 4u, 16u, 16u) \
    mode(1u, 4u, 32u, 8u) \
    mode(1u, 8u, 16u, 8u) \
    mode(1u, 16u, 16u, 4u) \
    mode(1u, 1u, 64u, 16u)

/* Depthwise modes: mode(pixel rows, pixel columns, channels, taps). */
#define LPT_DEPTHWISE_MODES_64(mode) \
    mode(1u, 1u, 4u, 16u) \
    mode(1u, 4u, 1u, 16u) \
    mode(1u, 1u, 8u, 8u) \
    mode(1u, 2u, 4u, 8u) \
    mode(1u, 2u, 8u, 4u)
#define LPT_DEPTHWISE_MODES_128(mode) \
    mode(1u, 1u, 8u, 16u) \
    mode(1u, 8u, 1u, 16u) \
    mode(1u, 2u, 4u, 16u) \
    mode(1u, 1u, 16u, 8u) \
    mode(1u, 2u, 8u, 8u)
#define LPT_DEPTHWISE_MODES_256(mode) \
    mode(1u, 1u, 16u, 16u) \
    mode(1u, 2u, 8u, 16u) \
    mode(1u, 4u, 4u, 16u) \
    mode(1u, 1u, 32u, 8u) \
    mode(1u, 2u, 16u, 8u)
#define LPT_DEPTHWISE_MODES_1024(mode) \
    mode(1u, 1u, 64u, 16u) \
    mode(1u, 2u, 32u, 16u) \
    mode(1u, 4u, 16u, 16u) \
    mode(1u, 8u, 8u, 16u) \
    mode(1u, 4u, 32u, 8u)

#endif
