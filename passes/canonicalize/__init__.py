"""Canonicalization: every graph in one form, by small laws that each hold to the last bit."""

from lepton_cc.passes.canonicalize.canonicalize import Canonicalize

__all__ = ["Canonicalize"]
