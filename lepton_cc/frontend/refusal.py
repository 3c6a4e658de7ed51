"""How an importer turns a node down; `frontend.importer` makes a diagnostic of it."""

from lepton_cc.ir.diagnostics import Code


class NodeRefusal(Exception):
    """Why one node cannot be imported; never leaves the frontend.

    `inputs`: the graph inputs without whose value it cannot.
    """

    def __init__(
        self,
        reason: str,
        hint: str = "",
        code: Code = Code.UNSUPPORTED_FORM,
        inputs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint
        self.inputs = inputs
