/* main.c: runs the image's model once on the control core; start.S calls it, the emulator reads the result. */

#include "board.h"

static void store_device(uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)((uintptr_t)LEPTON_BOARD_DEVICE + offset) = value;
}

void lepton_board_print(const char *text)
{
    for (; *text != '\0'; ++text) {
        store_device(LEPTON_BOARD_CONSOLE, (uint8_t)*text);
    }
}

/* An application that enables interrupts defines its own. */
__attribute__((weak)) void lepton_board_interrupt(void)
{
    lepton_board_print("lepton: an interrupt that nobody handles\n");
    store_device(LEPTON_BOARD_FAULT, LEPTON_BOARD_UNHANDLED_INTERRUPT);
}

int main(void)
{
    const lepton_status status = lepton_board_the_model.run();

    if (status != LEPTON_OK) {
        lepton_board_print("lepton: the model returned an error\n");
    }
    return (int)status;
}
