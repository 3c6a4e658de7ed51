/* board.c: the board of a firmware's twin on the host: its console, its one engine, its interrupt, main.
 *
 * The member of the family is LEPTON_HOST_NPU_MACS, the memories are those of the system
 * `embedded` unless LEPTON_HOST_NPU_PORTS says otherwise. Not freestanding.
 */

#include "engine.h"
#include "lepton/application.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef LEPTON_HOST_NPU_MACS
#define LEPTON_HOST_NPU_MACS 256u
#endif

/* Constants and system memory: rate in 1 / LPT_RATE_UNIT byte a cycle, latency in cycles. */
#ifndef LEPTON_HOST_NPU_PORTS
#define LEPTON_HOST_NPU_PORTS {16u, 16u}, {128u, 4u}
#endif

/* What on a board is hardware: there is one of each. */
static lepton_host_engine engine;
static int32_t interrupts_are_enabled;

/* An application that enables interrupts defines its own. */
__attribute__((weak)) void lepton_board_interrupt(void)
{
    (void)fprintf(stderr, "lepton: an interrupt that nobody handles\n");
    exit(EXIT_FAILURE);
}

const lpt_host_bus *lepton_npu_bus(void)
{
    return &engine.bus;
}

void lepton_board_print(const char *text)
{
    (void)fputs(text, stdout);
}

static void deliver_interrupts(void)
{
    while (interrupts_are_enabled != 0 && lpt_emulator_interrupt(engine.emulator) != 0u) {
        interrupts_are_enabled = 0;
        lepton_board_interrupt();
        interrupts_are_enabled = 1;
    }
}

void lepton_board_enable_interrupts(void)
{
    interrupts_are_enabled = 1;
    deliver_interrupts();
}

void lepton_board_disable_interrupts(void)
{
    interrupts_are_enabled = 0;
}

void lepton_board_sleep(void)
{
    lepton_host_engine_sleep(&engine);
    deliver_interrupts();
}

int main(void)
{
    static const lpt_port ports[2] = {LEPTON_HOST_NPU_PORTS};
    lpt_config config;
    lepton_status status;
    size_t size_bytes;
    void *memory;

    if (lpt_config_native(&config, LEPTON_HOST_NPU_MACS, ports[0], ports[1]) == 0) {
        (void)fprintf(stderr, "lepton: the family has no such member\n");
        return EXIT_FAILURE;
    }
    size_bytes = lpt_emulator_bytes(&config);
    memory = malloc(size_bytes);
    if (memory == NULL || lepton_host_engine_create(&engine, &config, memory, size_bytes) == 0) {
        (void)fprintf(stderr, "lepton: no memory for the engine\n");
        free(memory);
        return EXIT_FAILURE;
    }
    status = lepton_application();
    free(memory);
    return status == LEPTON_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
