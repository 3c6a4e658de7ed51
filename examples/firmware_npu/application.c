/* application.c: classifies stored digits on the engine, first call by call, then with core and engine side by side.
 *
 * The same file is firmware for the control core and a program of the host (its twin): all that
 * differs is the board that it is linked with.
 */

#include "digits.h"
#include "lepton/application.h"
#include "lepton/npu.h"
#include "samples.h"

#define NUM_PIXELS 64u
#define NUM_CLASSES 10u

extern const uint8_t digits_payload[];
extern const uint32_t digits_payload_bytes;

/* What interrupt handler and application share. */
static lepton_npu_task task;
static volatile uint32_t num_interrupts;

/* The engine reads and writes these: two of each, so that one is prepared while the other is used. */
LEPTON_ALIGNED(16) static int8_t images[2][NUM_PIXELS];
LEPTON_ALIGNED(16) static int8_t scores[2][16];
LEPTON_ALIGNED(16) static uint8_t arena[digits_ARENA_BYTES + 16u];

LEPTON_STATIC_ASSERT(sizeof scores[0] >= NUM_CLASSES, scores_fit);

void lepton_board_interrupt(void)
{
    ++num_interrupts;
    (void)lepton_npu_interrupt(&task);
}

static void print_number(uint64_t number)
{
    char text[21];
    uint32_t at = sizeof text - 1u;

    text[at] = '\0';
    do {
        text[--at] = (char)('0' + (char)(number % 10u));
        number /= 10u;
    } while (number != 0u);
    lepton_board_print(&text[at]);
}

static void print_line(const char *name, uint64_t number)
{
    lepton_board_print(name);
    print_number(number);
    lepton_board_print("\n");
}

static lepton_status print_failure(lpt_code code)
{
    lpt_fault_report report;

    lepton_board_print("engine: ");
    lepton_board_print(lpt_strerror(code));
    lepton_board_print("\n");
    if (code == LPT_ERROR_DEVICE_FAULT && lpt_fault(&task.job, &report) == LPT_OK) {
        lepton_board_print(lpt_fault_name(report.code));
        lepton_board_print(" in ");
        lepton_board_print(report.nodes);
        lepton_board_print("\n");
    }
    return LEPTON_ERROR_DEVICE;
}

static void prepare_image(uint32_t sample, int8_t image[NUM_PIXELS])
{
    uint32_t i;

    for (i = 0u; i < NUM_PIXELS; ++i) {
        image[i] = sample_levels[sample_pixels[sample][i]];
    }
}

static uint32_t best_class(const int8_t *score)
{
    uint32_t best = 0u;
    uint32_t i;

    for (i = 1u; i < NUM_CLASSES; ++i) {
        if (score[i] > score[best]) {
            best = i;
        }
    }
    return best;
}

/* The generated function: returns when the digit is classified. */
static lepton_status classify_one_by_one(uint8_t found[NUM_SAMPLES])
{
    uint32_t sample;

    for (sample = 0u; sample < NUM_SAMPLES; ++sample) {
        const digits_inputs in = {images[0]};
        const digits_outputs out = {scores[0]};
        lepton_status status;

        prepare_image(sample, images[0]);
        status = digits_run(&in, &out, arena);
        if (status != LEPTON_OK) {
            return status;
        }
        found[sample] = (uint8_t)best_class(scores[0]);
    }
    return LEPTON_OK;
}

/* Sleeps until an interrupt, again and again until the digit is classified. */
static lepton_status wait_for_result(void)
{
    lepton_status status;

    lepton_board_disable_interrupts();
    for (status = digits_poll(&task); status == LEPTON_BUSY; status = digits_poll(&task)) {
        lepton_board_sleep();
        lepton_board_enable_interrupts();
        lepton_board_disable_interrupts();
    }
    lepton_board_enable_interrupts();
    return status;
}

/* The engine classifies a digit while the core prepares the next. */
static lepton_status classify_side_by_side(uint8_t found[NUM_SAMPLES])
{
    lepton_status status = LEPTON_OK;
    uint32_t sample;

    prepare_image(0u, images[0]);
    for (sample = 0u; sample < NUM_SAMPLES && status == LEPTON_OK; ++sample) {
        const uint32_t now = sample % 2u;
        const digits_inputs in = {images[now]};
        const digits_outputs out = {scores[now]};

        status = digits_start(&task, &in, &out, arena);
        if (sample + 1u < NUM_SAMPLES) {
            prepare_image(sample + 1u, images[1u - now]);
        }
        if (status == LEPTON_OK) {
            status = wait_for_result();
        }
        found[sample] = (uint8_t)best_class(scores[now]);
    }
    return status;
}

static uint32_t print_classes(const uint8_t found[NUM_SAMPLES])
{
    uint32_t num_right = 0u;
    uint32_t sample;

    lepton_board_print("digits");
    for (sample = 0u; sample < NUM_SAMPLES; ++sample) {
        lepton_board_print(" ");
        print_number(found[sample]);
        num_right += found[sample] == sample_digits[sample] ? 1u : 0u;
    }
    lepton_board_print("\n");
    return num_right;
}

lepton_status lepton_application(void)
{
    uint8_t found[NUM_SAMPLES];
    uint8_t again[NUM_SAMPLES];
    lpt_device device;
    lpt_model model;
    lepton_status status;
    uint32_t sample;
    lpt_code code = lpt_probe(&device, lepton_npu_bus());

    if (code == LPT_OK) {
        code = lpt_load(&model, &device, digits_payload, digits_payload_bytes);
    }
    if (code != LPT_OK) {
        return print_failure(code);
    }
    print_line("engine of MACs ", device.macs);
    status = classify_one_by_one(found);
    if (status != LEPTON_OK) {
        return status;
    }
    print_line("right ", print_classes(found));
    print_line("of ", NUM_SAMPLES);
    print_line("cycles ", lpt_counter(&device, LPT_COUNTER_CYCLES));
    print_line("estimated ", lpt_estimated_cycles(&model, 0u));

    lepton_board_enable_interrupts();
    status = classify_side_by_side(again);
    lepton_board_disable_interrupts();
    if (status != LEPTON_OK) {
        return print_failure(task.job.status);
    }
    for (sample = 0u; sample < NUM_SAMPLES; ++sample) {
        if (again[sample] != found[sample]) {
            print_line("another result for sample ", sample);
            return LEPTON_ERROR_DEVICE;
        }
    }
    print_line("interrupts ", num_interrupts);
    return LEPTON_OK;
}
