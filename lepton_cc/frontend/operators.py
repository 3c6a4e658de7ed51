"""The list of all operator families: adding an operator file adds one line here."""

from lepton_cc.frontend.activations import OPERATORS as ACTIVATIONS
from lepton_cc.frontend.arithmetic import OPERATORS as ARITHMETIC
from lepton_cc.frontend.bitcast import OPERATORS as BITCAST
from lepton_cc.frontend.classical import OPERATORS as CLASSICAL
from lepton_cc.frontend.control_flow import OPERATORS as CONTROL_FLOW
from lepton_cc.frontend.convolution import OPERATORS as CONVOLUTION
from lepton_cc.frontend.deformable import OPERATORS as DEFORMABLE
from lepton_cc.frontend.determinant import OPERATORS as DETERMINANT
from lepton_cc.frontend.einsum import OPERATORS as EINSUM
from lepton_cc.frontend.elementwise import OPERATORS as ELEMENTWISE
from lepton_cc.frontend.indexing import OPERATORS as INDEXING
from lepton_cc.frontend.integer import OPERATORS as INTEGER
from lepton_cc.frontend.layout import OPERATORS as LAYOUT
from lepton_cc.frontend.linear import OPERATORS as LINEAR
from lepton_cc.frontend.microsoft import OPERATORS as MICROSOFT
from lepton_cc.frontend.movement import OPERATORS as MOVEMENT
from lepton_cc.frontend.normalization import OPERATORS as NORMALIZATION
from lepton_cc.frontend.pooling import OPERATORS as POOLING
from lepton_cc.frontend.qlinear import OPERATORS as QLINEAR
from lepton_cc.frontend.quantization import OPERATORS as QUANTIZATION
from lepton_cc.frontend.recurrent import OPERATORS as RECURRENT
from lepton_cc.frontend.reductions import OPERATORS as REDUCTIONS
from lepton_cc.frontend.registry import OperatorRegistry
from lepton_cc.frontend.resize import OPERATORS as RESIZE
from lepton_cc.frontend.roi_align import OPERATORS as ROI_ALIGN
from lepton_cc.frontend.sampling import OPERATORS as SAMPLING
from lepton_cc.frontend.selection import OPERATORS as SELECTION
from lepton_cc.frontend.sequences import OPERATORS as SEQUENCES
from lepton_cc.frontend.shapes import OPERATORS as SHAPES
from lepton_cc.frontend.signal import OPERATORS as SIGNAL
from lepton_cc.frontend.tree_ensemble import OPERATORS as TREE_ENSEMBLE

REGISTRY = OperatorRegistry(
    (
        *CLASSICAL,
        *TREE_ENSEMBLE,
        *MICROSOFT,
        *QLINEAR,
        *DEFORMABLE,
        *DETERMINANT,
        *BITCAST,
        *LAYOUT,
        *INTEGER,
        *ROI_ALIGN,
        *ACTIVATIONS,
        *ARITHMETIC,
        *CONTROL_FLOW,
        *CONVOLUTION,
        *LINEAR,
        *MOVEMENT,
        *POOLING,
        *REDUCTIONS,
        *SHAPES,
        *SEQUENCES,
        *SAMPLING,
        *RESIZE,
        *SIGNAL,
        *EINSUM,
        *QUANTIZATION,
        *SELECTION,
        *RECURRENT,
        *NORMALIZATION,
        *INDEXING,
        *ELEMENTWISE,
    )
)
