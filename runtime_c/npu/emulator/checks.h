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

/* Fields, by their word. */
void lpt_require_legal(lpt_checker *checker, bool condition, uint32_t word);
void lpt_require_in_spm(lpt_checker *checker, uint32_t address, uint32_t word);
void lpt_require_inside(lpt_checker *checker, uint32_t address, uint32_t word);
void lpt_require_zero_point(lpt_checker *checker, int32_t zero_point, uint32_t word);
void lpt_require_clamp(lpt_checker *checker, int32_t low, int32_t high, uint32_t word);
void lpt_require_positive_scale(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_normal_scale(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_offset(lpt_checker *checker, uint32_t bits, uint32_t word);
void lpt_require_ring(lpt_checker *checker, const lpt_map *map, uint32_t height, uint32_t word);
bool lpt_is_positive_normal(uint32_t bits);

/* Extents: `address` and so many bytes behind it. */
void lpt_require_extent(lpt_checker *checker, uint32_t address, uint64_t extent,
                        lpt_access access, uint32_t word);
void lpt_require_map(lpt_checker *checker, const lpt_map *map, lpt_extent extent,
                     lpt_access access, uint32_t word);

/* One function for the fields and shapes of each kind of packet, one for its extents. */
void lpt_check_windowed_fields(lpt_checker *checker, const lpt_windowed *op);
void lpt_check_windowed_extents(lpt_checker *checker, const lpt_windowed *op);
void lpt_check_matmul_fields(lpt_checker *checker, const lpt_matmul *op);
void lpt_check_matmul_extents(lpt_checker *checker, const lpt_matmul *op);
void lpt_check_elementwise_fields(lpt_checker *checker, const lpt_elementwise *op);
void lpt_check_elementwise_extents(lpt_checker *checker, const lpt_elementwise *op);
void lpt_check_table_fields(lpt_checker *checker, const lpt_table *op);
void lpt_check_table_extents(lpt_checker *checker, const lpt_table *op);
void lpt_check_dma_fields(lpt_checker *checker, const lpt_dma *op);
void lpt_check_dma_extents(lpt_checker *checker, const lpt_dma *op);

#endif
