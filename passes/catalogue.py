"""All passes that a pipeline may name; a new pass adds one line here."""

from lepton_cc.passes.registry import PassRegistry

PASSES = PassRegistry()
