"""The frontend's limits: what a model may ask for before it is refused, all in one place.

They keep a hostile file within seconds and within a gigabyte of memory; each is far above what
an edge model needs.
"""

# The model file, which is read whole into memory.
MAX_FILE_BYTES = 256 << 20
# Bytes of the file that are not tensor data (parsed, they take up to thirty times as much), and
# the fields of graphs, nodes, attributes and tensors.
MAX_STRUCTURE_BYTES = 24 << 20
MAX_WIRE_FIELDS = 600_000
# External data files, all together.
MAX_EXTERNAL_BYTES = 256 << 20
# ONNX nodes that are imported, function bodies, taken branches and unrolled loops included.
MAX_NODES = 50_000
# Ops that the nodes become.
MAX_OPS = 300_000
# Subgraphs and function calls within each other.
MAX_NESTING = 32
# Iterations of one unrolled `Loop` or `Scan`.
MAX_UNROLLED_ITERATIONS = 1024
# One value of the graph; nothing is allocated for it while importing.
MAX_TENSOR_BYTES = 1 << 31
# All constants of the graph together, folded ones and those of unrolled bodies included.
MAX_CONSTANT_BYTES = 640 << 20
# Elements of an operand that holds parameters: a shape, axes, bounds, sizes.
MAX_PARAMETERS = 1 << 16
# Elements of a table that an importer computes: indices, weights, windows, masks.
MAX_TABLE_ELEMENTS = 1 << 24
# Taps of one Resize axis, which are compacted one by one.
MAX_RESIZE_TAPS = 1 << 21
# Characters of a name or a reason in a diagnostic; models may hold names of megabytes.
MAX_NAME_CHARS = 120
MAX_REASON_CHARS = 600
# Content that is made at compile time out of small input (ConstantOfShape, Range, Expand, ...).
MAX_FOLDED_BYTES = 128 << 20
# Arithmetic of one folded op: elements read and written, times the window or the inner dimension.
MAX_FOLDED_WORK = 1 << 31
# Dimensions of a tensor: NumPy's limit is 64, and every decomposition adds a few.
MAX_RANK = 24
# Diagnostics that are reported; a file of garbage nodes would otherwise fill the screen.
MAX_DIAGNOSTICS = 200
