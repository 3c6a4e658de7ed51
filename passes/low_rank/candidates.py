"""What a layer could become: plans that pay, each with its cost and the error that it makes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.low_rank.fit import FactorFit
from lepton_cc.passes.low_rank.form import Cost, Form, Plan, composed, cost, possible_forms

# A split layer costs a kernel and a buffer more: it must save this share of MACs and of bytes.
LEAST_SAVING = 0.1
# Plans of a form whose error has to be tried out, and sweeps of refinement for each.
_NUM_TRIED, _SWEEPS = 10, 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan (None: the layer as it is), its cost and the share of output power that it misses."""

    plan: Plan | None
    cost: Cost
    error: float


def pays(op: Op, plan: Plan) -> bool:
    """Whether a plan saves enough, of multiplications and of bytes."""
    whole, split = cost(op, None), cost(op, plan)
    limit = 1 - LEAST_SAVING
    return split.num_macs <= limit * whole.num_macs and split.size_bytes <= limit * whole.size_bytes


def candidates(op: Op, fit: FactorFit, max_error: float) -> tuple[Candidate, ...]:
    """The layer as it is, and every plan that pays and errs by at most `max_error`."""
    found = [Candidate(None, cost(op, None), 0.0)]
    for form in possible_forms(op):
        for plan, error in _tried(op, fit, form):
            if error <= max_error:
                found.append(Candidate(plan, cost(op, plan), error))
    return tuple(found)


def has_paying_plan(op: Op) -> bool:
    """Whether the smallest ranks, at least, would pay."""
    step = _step(op)
    return any(
        pays(op, Plan(form, (step,) * (2 if form is Form.CHANNELS else 1)))
        for form in possible_forms(op)
    )


def _tried(op: Op, fit: FactorFit, form: Form) -> Iterator[tuple[Plan, float]]:
    if form is Form.OUTPUT:
        errors = fit.output_errors()
        for rank in _ranks(op, form):
            yield Plan(form, (rank,)), float(errors[rank])
        return
    if form is Form.CHANNELS:
        plans = list(_channel_plans(op, fit))
    else:
        plans = [Plan(form, (rank,)) for rank in _ranks(op, form)]
    for plan in _spread(plans):
        weights = composed(op, plan, fit.factors(plan, _SWEEPS))
        yield plan, fit.moments.relative_error(weights)


def _ranks(op: Op, form: Form) -> list[int]:
    """The ranks, in steps, that pay."""
    most = math.prod(op.inputs[1].type.dims)
    found: list[int] = []
    for rank in range(_step(op), most, _step(op)):
        if not pays(op, Plan(form, (rank,))):
            break
        found.append(rank)
    return found


def _channel_plans(op: Op, fit: FactorFit) -> Iterator[Plan]:
    """Pairs of ranks that leave out about as much power of inputs as of outputs."""
    step = _step(op)
    narrow, wide = (_left_out(powers) for powers in (fit.input_powers(), fit.output_powers()))
    for rank in range(step, len(wide) - 1, step):
        channels = int(np.argmax(narrow <= max(wide[rank], 1e-9)))
        channels = max(step, -(-channels // step) * step)
        plan = Plan(Form.CHANNELS, (channels, rank))
        if channels < len(narrow) - 1 and pays(op, plan):
            yield plan


def _left_out(powers: Array) -> Array:
    kept = np.concatenate([[0.0], np.cumsum(powers)])
    return np.asarray(np.maximum(1 - kept / max(kept[-1], 1e-30), 0.0))


def _spread(plans: list[Plan]) -> list[Plan]:
    """Some of many, the first and the last among them."""
    if len(plans) <= _NUM_TRIED:
        return plans
    places = np.linspace(0, len(plans) - 1, _NUM_TRIED).round().astype(int)
    return [plans[place] for place in places]


def _step(op: Op) -> int:
    """Ranks are multiples of what kernels take at once, coarser where there are many channels."""
    *_, channels, outputs = op.inputs[1].type.dims
    smaller = min(channels, outputs)
    return 8 if smaller >= 128 else 4 if smaller >= 16 else 1
