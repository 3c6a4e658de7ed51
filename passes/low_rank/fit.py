"""Factors that give the outputs of a contraction best, on what it reads: not its weights.

Errors are measured in the norm of the inputs' covariance S: with a root R of it, R^T R = S, the
mean squared error of the outputs of w' is |R (w' - w)|^2. A truncated singular value decomposition
of R w is thus the best of its rank (Chen et al., DRONE, 2021, theorem 1; Wang et al., SVD-LLM,
2024, section 3.1, with Cholesky's R), and no inverse of R is needed: truncation to the right
singular vectors v is w v v^T, and these are the eigenvectors of w^T S w, the covariance of outputs
(Zhang et al., 2016, section 3.1).
"""

import math

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.low_rank.alternate import alternate
from lepton_cc.passes.low_rank.form import EXPRESSIONS, Form, Plan, composed
from lepton_cc.passes.reconstruct.damping import DAMPINGS, chosen_damping
from lepton_cc.passes.reconstruct.least_squares import damped, ridge_target
from lepton_cc.passes.reconstruct.output_moments import FitMoments, merged

# Of the ranks, the one with which damping is tried.
_TRIED_SHARE = 4


class FactorFit:
    """Everything that is asked of one layer: errors by rank, and factors of a plan.

    weights: f64[G, K, O] as they are; moments: of what is read and what is wanted; damping: the
    share of the mean variance that is added to that of every direction.
    """

    def __init__(
        self, op: Op, weights: Array, moments: FitMoments, damping: float = DAMPINGS[0]
    ) -> None:
        self._op = op
        self.moments = moments.centered()
        self._gram = damped(self.moments.gram, damping)
        self._weights = ridge_target(weights, self.moments, damping)
        product = self._weights.transpose(0, 2, 1) @ self._gram @ self._weights
        values, vectors = np.linalg.eigh(product)
        self._powers = np.maximum(values[:, ::-1], 0.0)
        self._directions = np.ascontiguousarray(vectors[:, :, ::-1])

    def output_errors(self) -> Array:
        """The share of the outputs' power that rank r leaves out, for r = 0 to O: [O + 1]."""
        kept = np.concatenate([[0.0], np.cumsum(self._powers.sum(axis=0))])
        total = kept[-1]
        return np.maximum(1.0 - kept / total, 0.0) if total > 0 else np.zeros(len(kept))

    def input_powers(self) -> Array:
        """The power of the outputs in each direction of input channels, falling: [C]."""
        return self._input_side()[0]

    def output_powers(self) -> Array:
        """The power of the outputs in each of their own directions, falling: [O]."""
        return np.asarray(self._powers[0])

    def factors(self, plan: Plan, sweeps: int) -> tuple[Array, ...]:
        """The factors of a plan, f64; `sweeps` of refinement where there is no closed form.

        Shapes are those of `EXPRESSIONS`, or [G, K, r], [G, r, O].
        """
        if plan.form is Form.OUTPUT:
            kept = self._directions[:, :, : plan.ranks[0]] @ _even(plan.ranks[0])
            return self._weights @ kept, np.ascontiguousarray(kept.transpose(0, 2, 1))
        start = self._channel_start(*plan.ranks) if plan.form is Form.CHANNELS else None
        if start is None:
            start = self._spatial_start(plan)
        shape = (*self._op.inputs[1].type.dims[:-2], *self._tail())
        if plan.form is Form.CHANNELS:
            shape = (math.prod(shape[:-2]), *shape[-2:])
        wanted = (self._gram[0] @ self._weights[0]).reshape(shape)
        return alternate(EXPRESSIONS[plan.form], start, self._gram[0], wanted, sweeps)

    def _tail(self) -> tuple[int, int]:
        *_, channels, outputs = self._op.inputs[1].type.dims
        return channels, outputs

    def _spatial_start(self, plan: Plan) -> tuple[Array, ...]:
        """The best factors if the windows' other axis had independent inputs of one covariance."""
        rows, columns = self._op.inputs[1].type.dims[:2]
        channels, outputs = self._tail()
        shape = (rows, columns, channels, outputs)
        swap = plan.form is Form.COLUMNS_FIRST
        full, gram = self._weights[0].reshape(shape), self._gram[0]
        covariance = gram.reshape(rows, columns, channels, rows, columns, channels)
        if swap:
            full, covariance = full.swapaxes(0, 1), covariance.transpose(1, 0, 2, 4, 3, 5)
            rows, columns = columns, rows
        side = np.einsum("ijcpjd->icpd", covariance).reshape(rows * channels, rows * channels)
        matrix = full.transpose(0, 2, 1, 3).reshape(rows * channels, columns * outputs)
        root = np.linalg.cholesky(side).T
        _, _, right = np.linalg.svd(root @ matrix, full_matrices=False)
        kept = right[: plan.ranks[0]]
        second = kept.reshape(-1, columns, outputs).transpose(1, 0, 2)
        return (matrix @ kept.T).reshape(rows, channels, -1), np.ascontiguousarray(second)

    def _input_side(self) -> tuple[Array, Array, Array]:
        """Powers, left singular vectors [C, C] and the root of the channels' covariance."""
        channels, outputs = self._tail()
        taps = self._weights.shape[1] // channels
        covariance = self._gram[0].reshape(taps, channels, taps, channels)
        root = np.linalg.cholesky(np.einsum("tctd->cd", covariance)).T
        across = self._weights[0].reshape(taps, channels, outputs).transpose(1, 0, 2)
        values, vectors = np.linalg.eigh((matrix := root @ across.reshape(channels, -1)) @ matrix.T)
        return np.maximum(values[::-1], 0.0), vectors[:, ::-1], root

    def _channel_start(self, narrow: int, wide: int) -> tuple[Array, ...]:
        """Tucker's factors: directions of inputs and outputs on their own, then the core."""
        channels, outputs = self._tail()
        _, vectors, root = self._input_side()
        kept = vectors[:, :narrow]
        first = np.linalg.solve(root, kept)
        last = self._directions[0][:, :wide]
        across = self._weights[0].reshape(-1, channels, outputs)
        core = np.einsum("dp,cd,tco,oq->tpq", kept, root.T, across, last, optimize=True)
        return first, core, np.ascontiguousarray(last.T)


def judged_fit(op: Op, weights: Array, halves: tuple[FitMoments, FitMoments]) -> FactorFit:
    """The fit on both halves, damped so that truncation of either serves the other best."""
    plan = Plan(Form.OUTPUT, (max(1, min(weights.shape[1:]) // _TRIED_SHARE),))

    def solve(moments: FitMoments, damping: float) -> Array:
        return composed(op, plan, FactorFit(op, weights, moments, damping).factors(plan, 0))

    return FactorFit(op, weights, merged(*halves), chosen_damping(halves, solve))


def _even(rank: int) -> Array:
    """Hartley's matrix, orthogonal: after it directions have about the same power each.

    One scale of integers then serves all of them, should they be quantized.
    """
    angles = 2 * np.pi * np.outer(np.arange(rank), np.arange(rank)) / rank
    return np.asarray((np.cos(angles) + np.sin(angles)) / np.sqrt(rank))
