/* checks.h: the checks that packets share; the first that fails is the packet's fault. */
#ifndef LEPTON_NPU_EMULATOR_CHECKS_H
#define LEPTON_NPU_EMULATOR_CHECKS_H

#include "state.h"

typedef struct {
    const lpt_emulator *emulator;
    lpt_fault fault;
} lpt_checker;

/* What a packet of these rows, columns and channels touches of a map. */
typedef struct {
    uint32_t height;
    uint32_t width;
    uint32_t channels;
} lpt_extent;

typedef enum { LPT_READS, LPT_WRITES } lpt_access;

/* Records the fault unless the condition holds or a fault is there already. */
void lpt_require(lpt_checker *checker, bool condition, uint32_t code, uint32_t word,
                 uint32_t address);
bool lpt_passed(const lpt_checker *checker);

/* Legal values and scales; `word` is the field's. */
void lpt_require_legal(lpt_checker *checker, bool condition, uint32_t word);
void lpt_require_in_spm(lpt_checker *checker, uint32_t address, uint32_t word);
void lpt_require_inside(lpt_checker *checker, uint32_t address, uint32_t word);
void lpt_require_zero_point(lpt_checker *checker, int32_t zero_point, uint32_t word);
void lpt_require_clamp(lpt_checker *checker, int32_t low, int32_t high, uint32_t word);
void lpt_require_positive_scale(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_normal_scale(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_offset(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_unused_scale(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_ring(lpt_checker *checker, const lpt_map *map, uint32_t height, uint32_t word);
bool lpt_is_positive_normal(uint32_t bits);

/* Operands: `address` and so many bytes behind it. */
void lpt_require_slice(lpt_checker *checker, const lpt_slice *slice, uint32_t word);
void lpt_require_extent(lpt_checker *checker, uint32_t address, uint64_t extent,
                        lpt_access access, uint32_t word);
void lpt_require_map(lpt_checker *checker, const lpt_map *map, lpt_extent extent,
                     lpt_access access, uint32_t word);

/* For each kind of packet: legal values; scales; extents of the operands. */
void lpt_check_windowed_values(lpt_checker *checker, const lpt_windowed *op);
void lpt_check_windowed_scales(lpt_checker *checker, const lpt_windowed *op);
void lpt_check_windowed_extents(lpt_checker *checker, const lpt_windowed *op);
void lpt_check_matmul_values(lpt_checker *checker, const lpt_matmul *op);
void lpt_check_matmul_scales(lpt_checker *checker, const lpt_matmul *op);
void lpt_check_matmul_extents(lpt_checker *checker, const lpt_matmul *op);
void lpt_check_elementwise_values(lpt_checker *checker, const lpt_elementwise *op);
void lpt_check_elementwise_scales(lpt_checker *checker, const lpt_elementwise *op);
void lpt_check_elementwise_extents(lpt_checker *checker, const lpt_elementwise *op);
void lpt_check_table_values(lpt_checker *checker, const lpt_table *op);
void lpt_check_table_extents(lpt_checker *checker, const lpt_table *op);
void lpt_check_dma_values(lpt_checker *checker, const lpt_dma *op);
void lpt_check_dma_extents(lpt_checker *checker, const lpt_dma *op);

#endif
