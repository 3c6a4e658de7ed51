/* lepton.h: what every header that lepton-cc generates builds on: status codes, the threading hook, portability macros.
 *
 * C99 and C++11, freestanding: needs only <stdint.h> and <stddef.h>.
 */
#ifndef LEPTON_LEPTON_H
#define LEPTON_LEPTON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Result of a generated function: LEPTON_OK or one of the negative codes below; of NAME_poll also
 * LEPTON_BUSY.
 *
 * A fixed-width integer and not the enum's own type, which compilers that shorten enums
 * (-fshort-enums, the default of bare-metal Arm) would lay out differently from the generated code.
 */
typedef int32_t lepton_status;

enum {
    LEPTON_OK = 0,
    LEPTON_BUSY = 1,                     /* NAME_poll: the run goes on */
    LEPTON_ERROR_NULL_ARGUMENT = -1,     /* a pointer that the call needs is NULL */
    LEPTON_ERROR_MISALIGNED_ARENA = -2,  /* the arena does not start at LEPTON_ARENA_ALIGNMENT */
    LEPTON_ERROR_MISALIGNED_BUFFER = -3, /* an input or output is not aligned as its type wants */
    LEPTON_ERROR_INDEX_OUT_OF_RANGE = -4,/* an index in an input lies outside the indexed axis */
    LEPTON_ERROR_DIVISION_BY_ZERO = -5,  /* an integer division by zero in the model */
    LEPTON_ERROR_UNSUPPORTED_CPU = -6,   /* the code needs instructions that this CPU lacks */
    LEPTON_ERROR_DEVICE = -7             /* an accelerator refused or faulted; its driver says more */
};

/* Alignment in bytes of every arena. */
#define LEPTON_ARENA_ALIGNMENT 16u

/* One piece of a loop: does the iterations begin <= i < end. */
typedef void (*lepton_task)(void *context, int32_t begin, int32_t end);

/* How the caller lends threads to a model.
 *
 * `run` cuts [0, count) into disjoint ranges, calls `task(context, begin, end)` once for each, on
 * any threads, and returns when all are done. Results never depend on the cut. A null
 * `lepton_parallel *` means: on the calling thread.
 */
typedef struct {
    void (*run)(void *self, int32_t count, lepton_task task, void *context);
    void *self; /* handed to `run` untouched */
} lepton_parallel;

/* LEPTON_ALIGNED(bytes) stands first in a declaration: `LEPTON_ALIGNED(16) static uint8_t arena[64];` */
#if defined(__cplusplus)
#define LEPTON_ALIGNED(bytes) alignas(bytes)
#elif defined(__GNUC__) || defined(__clang__)
#define LEPTON_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#define LEPTON_ALIGNED(bytes) __declspec(align(bytes))
#else
#define LEPTON_ALIGNED(bytes) _Alignas(bytes)
#endif

#if defined(__cplusplus)
#define LEPTON_RESTRICT __restrict
#else
#define LEPTON_RESTRICT restrict
#endif

/* LEPTON_STATIC_ASSERT(condition, identifier) fails the compilation, at file or block scope, in C99 too. */
#if defined(__cplusplus)
#define LEPTON_STATIC_ASSERT(condition, identifier) static_assert(condition, #identifier)
#else
#define LEPTON_STATIC_ASSERT(condition, identifier) \
    struct lepton_static_assert_##identifier { unsigned int holds : (condition) ? 1 : -1; }
#endif

LEPTON_STATIC_ASSERT(sizeof(float) == 4 && sizeof(double) == 8, floats_are_ieee_sized);

#ifdef __cplusplus
}
#endif

#endif
