/* application.h: what an application asks of the board that it runs on, the same on every board of runtime_c/boards.
 *
 * Interrupts are off at the start. A handler runs with interrupts off.
 */
#ifndef LEPTON_APPLICATION_H
#define LEPTON_APPLICATION_H

#include "lepton/lepton.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The application, which the board calls once; what it returns is the exit status. */
lepton_status lepton_application(void);

/* Sends text to the console; `text` ends with a zero byte. */
void lepton_board_print(const char *text);

/* Allows the engine to interrupt the core, or forbids it. */
void lepton_board_enable_interrupts(void);
void lepton_board_disable_interrupts(void);

/* Sleeps until an interrupt is raised, also while interrupts are disabled: then it is handled when
 * they are enabled. So nothing is missed between a look at memory and the sleep:
 *
 *     lepton_board_disable_interrupts();
 *     while (job.status == LPT_BUSY) {
 *         lepton_board_sleep();
 *         lepton_board_enable_interrupts();
 *         lepton_board_disable_interrupts();
 *     }
 */
void lepton_board_sleep(void);

/* The handler of the engine's interrupt, which the application defines. */
void lepton_board_interrupt(void);

#ifdef __cplusplus
}
#endif
#endif
