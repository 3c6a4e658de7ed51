"""The list of all operator families: adding an operator file adds one line here."""

from lepton_cc.frontend.elementwise import OPERATORS as ELEMENTWISE
from lepton_cc.frontend.registry import OperatorRegistry

REGISTRY = OperatorRegistry((*ELEMENTWISE,))
