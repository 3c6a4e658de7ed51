"""The registry of passes: name -> class; filled explicitly by `passes.catalogue`."""

from lepton_cc.ir.diagnostics import InternalError, UsageError
from lepton_cc.passes.manager import Pass


class PassRegistry:
    """Passes by name; refuses a duplicate."""

    def __init__(self) -> None:
        self._passes: dict[str, type[Pass]] = {}

    def add(self, pass_class: type[Pass]) -> None:
        """Registers a pass under its NAME."""
        name = pass_class.NAME
        if not name or name in self._passes:
            raise InternalError(f"pass name {name!r} is empty or registered twice")
        self._passes[name] = pass_class

    def __getitem__(self, name: str) -> type[Pass]:
        if name not in self._passes:
            raise UsageError(f"there is no pass {name!r}; there are {', '.join(self.names())}")
        return self._passes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._passes

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._passes))
