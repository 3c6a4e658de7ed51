/* memory.c: memcpy, memmove, memset and memcmp for boards without a C library; compilers call them unasked.
 *
 * Weak, so that a firmware's own versions win. Build with -ffreestanding -fno-builtin, or the compiler
 * turns these loops into calls of themselves.
 */

#include <stddef.h>
#include <stdint.h>

#define WEAK __attribute__((weak))
#define WORD_BYTES sizeof(word)

typedef uint32_t __attribute__((may_alias)) word;

void *memcpy(void *restrict target, const void *restrict source, size_t size);
void *memmove(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);
int memcmp(const void *lhs, const void *rhs, size_t size);

static int is_word_aligned(uintptr_t address)
{
    return address % WORD_BYTES == 0u;
}

static void copy_forward(unsigned char *target, const unsigned char *source, size_t size)
{
    /* Words only where both sides reach alignment together: the core may trap on the rest. */
    if (is_word_aligned((uintptr_t)target ^ (uintptr_t)source)) {
        while (size != 0u && !is_word_aligned((uintptr_t)target)) {
            *target++ = *source++;
            --size;
        }
        for (; size >= 4u * WORD_BYTES; size -= 4u * WORD_BYTES) {
            const word *from = (const word *)(const void *)source;
            word *to = (word *)(void *)target;
            const word first = from[0];
            const word second = from[1];
            const word third = from[2];
            const word fourth = from[3];

            to[0] = first;
            to[1] = second;
            to[2] = third;
            to[3] = fourth;
            source += 4u * WORD_BYTES;
            target += 4u * WORD_BYTES;
        }
        for (; size >= WORD_BYTES; size -= WORD_BYTES) {
            *(word *)(void *)target = *(const word *)(const void *)source;
            source += WORD_BYTES;
            target += WORD_BYTES;
        }
    }
    while (size-- != 0u) {
        *target++ = *source++;
    }
}

static void copy_backward(unsigned char *target, const unsigned char *source, size_t size)
{
    if (is_word_aligned((uintptr_t)target ^ (uintptr_t)source)) {
        while (size != 0u && !is_word_aligned((uintptr_t)target + size)) {
            --size;
            target[size] = source[size];
        }
        while (size >= WORD_BYTES) {
            size -= WORD_BYTES;
            *(word *)(void *)(target + size) = *(const word *)(const void *)(source + size);
        }
    }
    while (size-- != 0u) {
        target[size] = source[size];
    }
}

WEAK void *memcpy(void *restrict target, const void *restrict source, size_t size)
{
    copy_forward((unsigned char *)target, (const unsigned char *)source, size);
    return target;
}

WEAK void *memmove(void *target, const void *source, size_t size)
{
    if ((uintptr_t)target <= (uintptr_t)source) {
        copy_forward((unsigned char *)target, (const unsigned char *)source, size);
    } else {
        copy_backward((unsigned char *)target, (const unsigned char *)source, size);
    }
    return target;
}

WEAK void *memset(void *target, int value, size_t size)
{
    unsigned char *byte = (unsigned char *)target;
    const unsigned char fill = (unsigned char)value;
    const word pattern = (word)fill * 0x01010101u;

    while (size != 0u && !is_word_aligned((uintptr_t)byte)) {
        *byte++ = fill;
        --size;
    }
    for (; size >= 4u * WORD_BYTES; size -= 4u * WORD_BYTES) {
        word *to = (word *)(void *)byte;

        to[0] = pattern;
        to[1] = pattern;
        to[2] = pattern;
        to[3] = pattern;
        byte += 4u * WORD_BYTES;
    }
    while (size-- != 0u) {
        *byte++ = fill;
    }
    return target;
}

WEAK int memcmp(const void *lhs, const void *rhs, size_t size)
{
    const unsigned char *left = (const unsigned char *)lhs;
    const unsigned char *right = (const unsigned char *)rhs;

    for (; size != 0u; --size, ++left, ++right) {
        if (*left != *right) {
            return (int)*left - (int)*right;
        }
    }
    return 0;
}
