"""Transposed views: what layout propagation knows of each value, and how it makes one real.

A view says "this value is `base`, transposed". Views cost nothing until an op needs the elements
in the value's own order; then a transpose appears, once for each base and permutation.
"""

from dataclasses import dataclass, field

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.graph import Location, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.movement import Reshape, Transpose
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.permutation import Permutation, extended, identity, moves_nothing

# The region of a view that no transpose has touched yet.
NO_REGION = -1


@dataclass(frozen=True, slots=True)
class View:
    """A value of the old graph: `base` of the new graph, transposed by `permutation`.

    `region` is one of the old graph's transposes that the view comes from.
    """

    base: Value
    permutation: Permutation
    region: int = NO_REGION

    @property
    def is_plain(self) -> bool:
        """True if the base is the value itself."""
        return self.permutation == identity(len(self.permutation))


def plain(value: Value) -> View:
    """The view of a value that is what it was."""
    return View(value, identity(value.type.rank))


@dataclass(slots=True)
class Regions:
    """Transposes of the old graph that met, as sets, with the elements that each set moves.

    State of one sweep: a disjoint-set forest over the indices of the old graph's transposes.
    """

    parents: dict[int, int] = field(default_factory=dict)
    charges: list[tuple[int, int]] = field(default_factory=list)

    def find(self, region: int) -> int:
        """The representative of a region."""
        while (parent := self.parents.setdefault(region, region)) != region:
            region = parent
        return region

    def join(self, *regions: int) -> int:
        """One region of all the given ones."""
        roots = sorted({self.find(region) for region in regions if region != NO_REGION})
        if not roots:
            return NO_REGION
        for root in roots[1:]:
            self.parents[root] = roots[0]
        return roots[0]

    def charge(self, region: int, num_elements: int) -> None:
        """Adds elements moved (negative: no longer moved) on behalf of a region."""
        if region != NO_REGION:
            self.charges.append((region, num_elements))

    def growth(self) -> dict[int, int]:
        """How many more elements each region's transposes move than they did before."""
        totals: dict[int, int] = {}
        for region, num_elements in self.charges:
            root = self.find(region)
            totals[root] = totals.get(root, 0) + num_elements
        return totals


@dataclass(slots=True)
class Transposer:
    """Makes views real in a graph under construction; state of one sweep."""

    builder: GraphBuilder
    regions: Regions
    made: dict[tuple[Value, Permutation], Value] = field(default_factory=dict)

    def cost(self, base: Value, permutation: Permutation) -> int:
        """Elements that `transposed` would have to move; a pad of leading ones is allowed for."""
        wide = (1,) * (len(permutation) - base.type.rank) + base.type.shape
        if moves_nothing(wide, permutation) or (base, permutation) in self.made:
            return 0
        if self.builder.constant_array(base) is not None:
            return 0
        return base.type.num_elements

    def real(self, view: View, location: Location) -> Value:
        """The value that a view stands for."""
        return self.transposed(view.base, view.permutation, view.region, location)

    def transposed(
        self, base: Value, permutation: Permutation, region: int, location: Location
    ) -> Value:
        """`base` transposed, the elements that move charged to `region`."""
        if permutation == identity(base.type.rank):
            return base
        key = (base, permutation)
        if key not in self.made:
            self.regions.charge(region, self.cost(base, permutation))
            self.made[key] = self._make(base, permutation, location)
        return self.made[key]

    def _make(self, base: Value, permutation: Permutation, location: Location) -> Value:
        producer = self.builder.producer(base)
        if producer is not None and isinstance(producer.kind, Constant):
            array = np.transpose(producer.kind.value.array, permutation)
            kind = Constant(Tensor(array), producer.kind.quantization)
            return self.builder.emit(kind, location=producer.location, name=base.name)
        if moves_nothing(base.type.shape, permutation):
            shape = tuple(base.type.dims[axis] for axis in permutation)
            if shape == base.type.dims:
                return base
            return self.builder.emit(Reshape(shape), base, location=location, name=base.name)
        return self.builder.emit(Transpose(permutation), base, location=location, name=base.name)

    def aligned(
        self, view: View, permutation: Permutation, region: int, location: Location
    ) -> Value:
        """`view` for an op with broadcasting whose result will be transposed by `permutation`.

        `permutation` has the result's rank; `view` may have a lower one.
        """
        rank = len(permutation)
        needed = alignment(view, permutation)
        shape = (1,) * (rank - view.base.type.rank) + view.base.type.dims
        if view.base.type.num_elements == 1 and len(view.permutation) < rank:
            return view.base
        if len(shape) == len(view.base.type.shape):
            return self.transposed(view.base, needed, region, location)
        if needed == identity(rank):
            return view.base
        target = tuple(shape[axis] for axis in needed)
        array = self.builder.constant_array(view.base)
        if array is not None:
            moved = np.transpose(array.reshape(shape), needed)
            return self.builder.constant(_without_leading_ones(moved), name=view.base.name)
        if moves_nothing(shape, needed):
            return self._reshaped(view.base, target, location)
        padded = self._reshaped(view.base, shape, location)
        return self.transposed(padded, needed, region, location)

    def _reshaped(self, base: Value, shape: tuple[int, ...], location: Location) -> Value:
        return self.builder.emit(Reshape(shape), base, location=location, name=base.name)


def alignment(view: View, permutation: Permutation) -> Permutation:
    """How `view.base`, padded with leading ones, must be transposed to meet `permutation`."""
    wide = extended(view.permutation, len(permutation))
    return tuple(wide[permutation.index(axis)] for axis in range(len(permutation)))


def _without_leading_ones(array: Array) -> Array:
    lead = next((axis for axis, dim in enumerate(array.shape) if dim != 1), array.ndim)
    return array.reshape(array.shape[lead:])
