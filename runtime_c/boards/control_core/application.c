/* application.c: ties an application to the board, in place of a model's glue: it has no ports that the emulator fills. */

#include "board.h"

lepton_status lepton_board_measure(const void *in, const void *out, void *arena,
                                   lepton_status (*run)(const void *, const void *, void *));

static lepton_status call_application(const void *in, const void *out, void *arena)
{
    (void)in;
    (void)out;
    (void)arena;
    return lepton_application();
}

static lepton_status run_application(void)
{
    return lepton_board_measure(NULL, NULL, NULL, call_application);
}

const lepton_board_model lepton_board_the_model = {
    LEPTON_BOARD_VERSION, run_application, 0u, NULL, 0u, NULL, NULL, 0u,
};
