"""Hand-written models that the emulator's tests run."""

from lepton_cc.linking import BoardPort
from tests.lepton_cc.firmware import HandModel

SIZE = 24

# Soft-float products, 64-bit division, a copy through the arena, initialised data, deep-ish stack.
MATMUL = HandModel(
    name="matmul",
    inputs=(BoardPort("x", "float", SIZE * SIZE), BoardPort("y", "int64_t", 2)),
    outputs=(BoardPort("z", "float", SIZE * SIZE), BoardPort("q", "int64_t", 3)),
    arena_bytes=4 * SIZE * SIZE,
    source=f"""
#define N {SIZE}
void *memcpy(void *, const void *, size_t);
static volatile int32_t calls = 41;
static volatile int32_t zeroed[3];
static __attribute__((noinline)) int32_t depth(int32_t n) {{
    volatile int32_t words[16];
    words[n & 15] = n;
    return n == 0 ? 0 : depth(n - 1) + words[n & 15];
}}
lepton_status matmul_run(const matmul_inputs *in, const matmul_outputs *out, void *arena) {{
    float *scratch = arena;
    memcpy(scratch, in->x, sizeof(float) * N * N);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {{
            float sum = 0.0f;
            for (int k = 0; k < N; k++) sum += scratch[i * N + k] * in->x[k * N + j];
            out->z[i * N + j] = sum;
        }}
    calls += 1;
    out->q[0] = in->y[0] / in->y[1];
    out->q[1] = in->y[0] * in->y[1] + zeroed[1];
    out->q[2] = calls + depth(10);
    return LEPTON_OK;
}}
""",
)

# What can go wrong, chosen by the input.
BROKEN = HandModel(
    name="broken",
    inputs=(BoardPort("how", "int32_t", 1),),
    outputs=(BoardPort("z", "int32_t", 1),),
    arena_bytes=30,
    source="""
static const int32_t constant[4] = {1, 2, 3, 4};
static __attribute__((noinline)) int32_t endless(volatile int32_t *p) {
    volatile int32_t words[32];
    words[*p & 31] = 1;
    return endless(p) + words[*p & 31];
}
lepton_status broken_run(const broken_inputs *in, const broken_outputs *out, void *arena) {
    volatile int32_t zero = 0;
    switch (in->how[0]) {
    case 0: return LEPTON_ERROR_INDEX_OUT_OF_RANGE;
    case 1: __asm__ volatile("unimp"); break;
    case 2: out->z[0] = *(volatile int32_t *)(uintptr_t)zero; break;
    case 3: *(volatile int32_t *)(uintptr_t)&constant[zero] = 5; break;
    case 4: while (zero == 0) {} break;
    case 5: out->z[0] = endless(&zero); break;
    case 6: ((void (*)(void))(uintptr_t)out->z)(); break;
    case 7: __asm__ volatile("ecall"); break;
    case 8: __asm__ volatile(".word 0x00007053"); break; /* fadd.s f0, f0, f0 */
    case 9: ((void (*)(void))(uintptr_t)constant)(); break;
    case 10: __asm__ volatile("wfi"); break;
    case 11: out->z[1] = 0; break;
    case 12: *(int32_t *)(uintptr_t)in->how = 7; break;
    case 13: ((uint8_t *)arena)[30] = 0; break;
    default: out->z[0] = 1; break;
    }
    return LEPTON_OK;
}
""",
)

# Asks a device at 0x40000000 to double a word in memory, and reads its register.
WITH_DEVICE = HandModel(
    name="with_device",
    inputs=(BoardPort("x", "int32_t", 1),),
    outputs=(BoardPort("z", "int32_t", 2),),
    source="""
lepton_status with_device_run(
    const with_device_inputs *in, const with_device_outputs *out, void *arena) {
    volatile uint32_t *device = (volatile uint32_t *)0x40000000;
    out->z[0] = in->x[0];
    device[1] = (uint32_t)(uintptr_t)out->z;
    out->z[1] = (int32_t)device[2];
    return LEPTON_OK;
}
""",
)

NOTHING = HandModel(
    name="nothing",
    inputs=(),
    outputs=(BoardPort("z", "int8_t", 3),),
    source="""
lepton_status nothing_run(const nothing_inputs *in, const nothing_outputs *out, void *arena) {
    out->z[0] = 1; out->z[1] = -1; out->z[2] = arena == NULL;
    return LEPTON_OK;
}
""",
)
