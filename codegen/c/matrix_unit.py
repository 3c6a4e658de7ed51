"""The matrices of the kernel IR in portable C: local arrays, and loops over their words.

Nobody runs this for its speed: it says what the instructions of a matrix unit do, to the bit, and
lets code for such a target be compiled where there is none.
"""

from lepton_cc.codegen.c.support import DOTS, LOAD_WORD, SupportFunction
from lepton_cc.codegen.kernel.integer_expr import DotShape
from lepton_cc.codegen.kernel.ir import Matrix, MatrixDot, MatrixLoad, MatrixStore

_LOAD = SupportFunction(
    "lepton_matrix_load",
    """\
static inline void lepton_matrix_load(uint32_t *const matrix, const void *const from,
                                      const ptrdiff_t stride, const ptrdiff_t rows,
                                      const ptrdiff_t words)
{
    const uint8_t *const bytes = from;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        for (ptrdiff_t j = 0; j < words; ++j) {
            matrix[i * words + j] = (uint32_t)lepton_load_word(bytes + i * stride + 4 * j);
        }
    }
}
""",
)
_DOT = SupportFunction(
    "lepton_matrix_quads",
    """\
static inline void lepton_matrix_quads(uint32_t *const total, const uint32_t *const lhs,
                                       const uint32_t *const rhs, const ptrdiff_t rows,
                                       const ptrdiff_t depth, const ptrdiff_t columns)
{
    for (ptrdiff_t i = 0; i < rows * columns; ++i) {
        for (ptrdiff_t k = 0; k < depth; ++k) {
            const uint32_t left = lhs[i / columns * depth + k];
            const uint32_t right = rhs[k * columns + i % columns];
            total[i] = (uint32_t)lepton_dot_quads(left, right, total[i]);
        }
    }
}
""",
)
_STORE = SupportFunction(
    "lepton_matrix_store",
    """\
static inline void lepton_matrix_store(int32_t *const to, const uint32_t *const matrix,
                                       const ptrdiff_t stride, const ptrdiff_t rows,
                                       const ptrdiff_t words)
{
    for (ptrdiff_t i = 0; i < rows; ++i) {
        for (ptrdiff_t j = 0; j < words; ++j) {
            to[i * stride + j] = (int32_t)matrix[i * words + j];
        }
    }
}
""",
)
# In the order of their calls' depth: a file has them sorted by name, which is the same.
LOAD_SUPPORT = (LOAD_WORD, _LOAD)
DOT_SUPPORT = (DOTS[DotShape.QUADS], _DOT)
STORE_SUPPORT = (_STORE,)


def declaration(matrix: Matrix, name: str) -> str:
    """The local array of a matrix."""
    return f"uint32_t {name}[{matrix.rows * matrix.words}];"


def dot_call(statement: MatrixDot, names: tuple[str, str, str]) -> str:
    """The statement, with the names of total, left and right matrix."""
    total, lhs = statement.total, statement.lhs
    return f"{_DOT.name}({', '.join(names)}, {total.rows}, {lhs.words}, {total.words});"


def move_call(statement: MatrixLoad | MatrixStore, name: str, place: str) -> str:
    """The statement, with the name of the matrix and the address in the buffer."""
    matrix = statement.matrix
    extents = f"{matrix.rows}, {matrix.words}"
    if isinstance(statement, MatrixStore):
        return f"{_STORE.name}({place}, {name}, {statement.stride}, {extents});"
    stride_bytes = statement.stride * statement.buffer.dtype.size_bytes
    return f"{_LOAD.name}({name}, {place}, {stride_bytes}, {extents});"
