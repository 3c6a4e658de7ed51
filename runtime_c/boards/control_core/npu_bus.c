/* npu_bus.c: the engine on the control core's bus: registers at LEPTON_BOARD_NPU, memory at the addresses that the core uses. */

#include "board.h"
#include "lepton/npu.h"

static volatile uint32_t *register_at(uint32_t offset)
{
    return (volatile uint32_t *)((uintptr_t)LEPTON_BOARD_NPU + offset);
}

static uint32_t read_register(void *user, uint32_t offset)
{
    (void)user;
    return *register_at(offset);
}

static void write_register(void *user, uint32_t offset, uint32_t value)
{
    (void)user;
    __asm__ volatile("fence" ::: "memory");
    *register_at(offset) = value;
}

static int32_t wait_for_interrupt(void *user)
{
    (void)user;
    lepton_board_sleep();
    return 0;
}

const lpt_host_bus *lepton_npu_bus(void)
{
    static const lpt_host_bus bus = {NULL, read_register, write_register, NULL, wait_for_interrupt};

    return &bus;
}
