"""The few inline functions that expressions call, each emitted only where it is used."""

from dataclasses import dataclass

from lepton_cc.codegen.kernel.integer_expr import DotShape
from lepton_cc.ir.dtype import DType


@dataclass(frozen=True, slots=True, order=True)
class SupportFunction:
    """A function of the C file's head: its name and its whole text."""

    name: str
    text: str


def bits_of_float(dtype: DType) -> SupportFunction:
    """The encoding of a float as an unsigned integer."""
    name, word = f"lepton_bits_{dtype.value}", f"uint{dtype.bits}_t"
    return _punned(name, _C_FLOAT[dtype], word)


def float_of_bits(dtype: DType) -> SupportFunction:
    """The float of an encoding."""
    name, word = f"lepton_{dtype.value}_of_bits", f"uint{dtype.bits}_t"
    return _punned(name, word, _C_FLOAT[dtype])


def _punned(name: str, source: str, target: str) -> SupportFunction:
    return SupportFunction(
        name,
        f"static inline {target} {name}(const {source} value)\n"
        "{\n"
        f"    union {{ {source} from; {target} to; }} pun;\n"
        "    pun.from = value;\n"
        "    return pun.to;\n"
        "}\n",
    )


def float_magnitude(dtype: DType) -> tuple[SupportFunction, ...]:
    """|x|, and the functions that it calls."""
    name, kind = f"lepton_abs_{dtype.value}", _C_FLOAT[dtype]
    mask = "0x7fffffffu" if dtype is DType.F32 else "UINT64_C(0x7fffffffffffffff)"
    to_bits, of_bits = bits_of_float(dtype), float_of_bits(dtype)
    text = (
        f"static inline {kind} {name}(const {kind} value)\n"
        "{\n"
        f"    return {of_bits.name}({to_bits.name}(value) & {mask});\n"
        "}\n"
    )
    return to_bits, of_bits, SupportFunction(name, text)


def integer_magnitude(bits: int) -> SupportFunction:
    """|x| of a 32-bit or 64-bit integer, wrapping."""
    name, kind = f"lepton_abs_i{bits}", f"int{bits}_t"
    text = (
        f"static inline {kind} {name}(const {kind} value)\n"
        "{\n"
        f"    return value < 0 ? ({kind})(0u - (u{kind})value) : value;\n"
        "}\n"
    )
    return SupportFunction(name, text)


def float_to_integer(source: DType, target: DType) -> SupportFunction:
    """Truncation to i32, u32, i64 or u64; 0 where C leaves the conversion undefined."""
    name = f"lepton_{target.value}_of_{source.value}"
    kind, suffix = _C_FLOAT[source], "f" if source is DType.F32 else ""
    signed = target.is_signed_integer
    result = f"{'' if signed else 'u'}int{target.bits}_t"
    above = f"0x1p+{target.bits - signed}{suffix}"
    below = f"value >= -{above}" if signed else f"value > -1.0{suffix}"
    text = (
        f"static inline {result} {name}(const {kind} value)\n"
        "{\n"
        f"    return ({below} && value < {above}) ? ({result})value : 0;\n"
        "}\n"
    )
    return SupportFunction(name, text)


LOAD_WORD = SupportFunction(
    "lepton_load_word",
    """\
static inline int32_t lepton_load_word(const void *const at)
{
    const uint8_t *const bytes = at;
    return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24);
}
""",
)
PACKED_WORD = SupportFunction(
    "lepton_packed_word",
    """\
static inline int32_t lepton_packed_word(const uint8_t first, const uint8_t second,
                                         const uint8_t third, const uint8_t fourth)
{
    return (int32_t)((uint32_t)first | (uint32_t)second << 8 | (uint32_t)third << 16 |
                     (uint32_t)fourth << 24);
}
""",
)
_DOT_QUADS = SupportFunction(
    "lepton_dot_quads",
    """\
static inline int32_t lepton_dot_quads(const uint32_t lhs, const uint32_t rhs, const uint32_t sum)
{
    uint32_t total = sum;
    for (unsigned i = 0; i < 32; i += 8) {
        const int32_t left = (int32_t)(lhs >> i & 0xffu);
        const int32_t product = left * (int8_t)(uint8_t)(rhs >> i & 0xffu);
        total += (uint32_t)product;
    }
    return (int32_t)total;
}
""",
)
_DOT_PAIRS = SupportFunction(
    "lepton_dot_pairs",
    """\
static inline int32_t lepton_dot_pairs(const uint32_t lhs, const uint32_t rhs, const uint32_t sum)
{
    uint32_t total = sum;
    for (unsigned i = 0; i < 32; i += 16) {
        const int32_t left = (int16_t)(uint16_t)(lhs >> i & 0xffffu);
        const int32_t product = left * (int16_t)(uint16_t)(rhs >> i & 0xffffu);
        total += (uint32_t)product;
    }
    return (int32_t)total;
}
""",
)
# Sums of products of the small integers in two words.
DOTS = {DotShape.QUADS: _DOT_QUADS, DotShape.PAIRS: _DOT_PAIRS}
_C_FLOAT = {DType.F32: "float", DType.F64: "double"}
