"""What an op is: the base of all op definitions and the registry of their mnemonics.

An op definition is a frozen dataclass: its fields are the op's attributes, its docstring the
manual, `infer` the typing rule, `evaluate` the meaning in NumPy, `TRAITS` what passes may assume.
A graph node (`ir.graph.Op`) holds one instance.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.diagnostics import InternalError, TypeInferenceError
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


class Trait(enum.Enum):
    """What a pass may assume of every instance of an op."""

    POINTWISE = "each output element depends on the broadcast operands' elements at its own index"
    MOVEMENT = "output elements are input elements (or a fill) at computed indices; no arithmetic"
    VIEW = "the output has the input's elements in the same linear order"
    COMMUTATIVE = "the two operands may be swapped"
    IDEMPOTENT = "applying it to its own output changes nothing"
    REDUCTION = "combines elements along axes"
    CONTRACTION = "multiplies and accumulates: conv, matmul and their kin"


@dataclass(frozen=True, slots=True)
class OpKind:
    """Base of the op definitions; a subclass states everything that is known of its op."""

    MNEMONIC: ClassVar[str] = ""
    TRAITS: ClassVar[frozenset[Trait]] = frozenset()
    # Names of the operands, in order; a name that ends in "?" may be absent, one in "*" repeats.
    OPERANDS: ClassVar[tuple[str, ...]] = ()

    @property
    def mnemonic(self) -> str:
        """The op's name in the text form."""
        return self.MNEMONIC

    @property
    def traits(self) -> frozenset[Trait]:
        """The traits of this instance."""
        return self.TRAITS

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        """Types of the results.

        Raises:
            TypeInferenceError: the operands or the attributes do not fit.
        """
        raise InternalError(f"{type(self).__name__} does not define infer")

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        """The op's meaning: results of the given operand arrays."""
        raise InternalError(f"{type(self).__name__} does not define evaluate")


@dataclass(frozen=True, slots=True)
class Registration:
    """One mnemonic: the class, and the fields that the mnemonic itself fixes."""

    definition: type[OpKind]
    fixed: tuple[tuple[str, enum.Enum], ...] = ()


class OpRegistry:
    """Mnemonic -> registration; filled explicitly by `ir.ops`, refuses a duplicate."""

    def __init__(self) -> None:
        self._registrations: dict[str, Registration] = {}

    def add(self, definition: type[OpKind]) -> None:
        """Registers an op under its class's mnemonic."""
        self._add(definition.MNEMONIC, Registration(definition))

    def add_variants(
        self, definition: type[OpKind], field: str, variants: Iterable[enum.Enum]
    ) -> None:
        """Registers one mnemonic for each value of an enum field (exp, log, ... of Unary)."""
        for variant in variants:
            self._add(str(variant.value), Registration(definition, ((field, variant),)))

    def _add(self, mnemonic: str, registration: Registration) -> None:
        if not mnemonic or mnemonic in self._registrations:
            raise InternalError(f"mnemonic {mnemonic!r} is empty or registered twice")
        self._registrations[mnemonic] = registration

    def __getitem__(self, mnemonic: str) -> Registration:
        return self._registrations[mnemonic]

    def __contains__(self, mnemonic: str) -> bool:
        return mnemonic in self._registrations

    def mnemonics(self) -> tuple[str, ...]:
        """All mnemonics, sorted."""
        return tuple(sorted(self._registrations))


def present(operands: Sequence[TensorType | None], count: int) -> tuple[TensorType, ...]:
    """The first `count` operand types, all of which must be there.

    Raises:
        TypeInferenceError: there are fewer, or one is absent.
    """
    found = tuple(operand for operand in operands[:count] if operand is not None)
    if len(found) != count:
        raise TypeInferenceError(f"expects {count} operands, got {len(found)}")
    return found


def arrays(operands: Sequence[Array | None], count: int) -> tuple[Array, ...]:
    """The first `count` operand arrays; the verifier has made sure that they are there."""
    found = tuple(operand for operand in operands[:count] if operand is not None)
    if len(found) != count:
        raise InternalError(f"expects {count} operand arrays, got {len(found)}")
    return found
