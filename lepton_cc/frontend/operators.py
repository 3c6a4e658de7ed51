"""The list of all operator families: adding an operator file adds one line here."""

from lepton_cc.frontend.einsum import OPERATORS as EINSUM
from lepton_cc.frontend.elementwise import OPERATORS as ELEMENTWISE
from lepton_cc.frontend.indexing import OPERATORS as INDEXING
from lepton_cc.frontend.normalization import OPERATORS as NORMALIZATION
from lepton_cc.frontend.quantization import OPERATORS as QUANTIZATION
from lepton_cc.frontend.recurrent import OPERATORS as RECURRENT
from lepton_cc.frontend.registry import OperatorRegistry
from lepton_cc.frontend.resize import OPERATORS as RESIZE
from lepton_cc.frontend.selection import OPERATORS as SELECTION
from lepton_cc.frontend.signal import OPERATORS as SIGNAL

REGISTRY = OperatorRegistry(
    (
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
