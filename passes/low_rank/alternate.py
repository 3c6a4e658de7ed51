"""Alternating least squares: a product of factors nearest to weights, in the norm of a covariance.

The squared error is quadratic in each factor while the others are fixed; conjugate gradients
(Hestenes and Stiefel, 1952) step towards its minimum through the factors' products alone, so that
no matrix over all elements of a factor is ever made.
"""

from collections.abc import Callable

import numpy as np

from lepton_cc.ir.tensor import Array

_STEPS = 12
# A residual of this share of the first one is rounding.
_SMALL = 1e-10


def alternate(
    expression: str, start: tuple[Array, ...], gram: Array, wanted: Array, sweeps: int
) -> tuple[Array, ...]:
    """The factors after so many sweeps over all of them; the error never grows.

    `expression` is einsum's, from factors to weights [*, O] whose leading dimensions are the K of
    gram f64[K, K]; `wanted` f64[*, O] is gram times the weights to come near to.
    """
    factors = list(start)
    for _ in range(sweeps):
        for number in reversed(range(len(factors))):
            factors[number] = _improved(expression, factors, number, gram, wanted)
    return tuple(factors)


def _improved(
    expression: str, factors: list[Array], number: int, gram: Array, wanted: Array
) -> Array:
    given, result = expression.split("->")
    names = given.split(",")
    others = [factor for n, factor in enumerate(factors) if n != number]
    other_names = [name for n, name in enumerate(names) if n != number]
    forward = ",".join([names[number], *other_names]) + f"->{result}"
    backward = ",".join([result, *other_names]) + f"->{names[number]}"

    def adjoint(full: Array) -> Array:
        return np.asarray(np.einsum(backward, full, *others, optimize=True))

    def normal(factor: Array) -> Array:
        full = np.einsum(forward, factor, *others, optimize=True)
        flat = gram @ full.reshape(len(gram), -1)
        return adjoint(flat.reshape(full.shape))

    return _conjugate_gradients(normal, adjoint(wanted), factors[number])


def _conjugate_gradients(normal: Callable[[Array], Array], target: Array, start: Array) -> Array:
    solution = start
    residual = target - normal(start)
    direction = residual
    power = first = float(np.sum(residual**2))
    floor = _SMALL * float(np.sum(target**2))
    for _ in range(_STEPS):
        if power <= max(floor, _SMALL * first):
            break
        image = normal(direction)
        length = power / float(np.sum(direction * image))
        solution = solution + length * direction
        residual = residual - length * image
        before, power = power, float(np.sum(residual**2))
        direction = residual + power / before * direction
    return solution
