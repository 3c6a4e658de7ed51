"""Fits the polynomials of `codegen/kernel/math` and prints `coefficients.py`.

    python benchmarks/fit_polynomials.py > codegen/kernel/math/coefficients.py

Each polynomial interpolates its function in the Chebyshev nodes of its interval (within a factor
of about two of the best), in decimal arithmetic of 120 digits, and is rounded to the format last.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, getcontext

import numpy as np

getcontext().prec = 120
_TINY = Decimal(10) ** -110
_PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899"
    "86280348253421170679821480865132823066470938446095505822317253594081"
)
_LN2 = Decimal(2).ln()


def _series(first: Decimal, ratio: Callable[[int], Decimal]) -> Decimal:
    total, term, n = Decimal(0), first, 0
    while abs(term) > _TINY:
        total += term
        term *= ratio(n)
        n += 1
    return total


def _exponential(r: Decimal) -> Decimal:
    return _series(Decimal(1) / 2, lambda n: r / (n + 3))


def _sine(z: Decimal) -> Decimal:
    return _series(Decimal(-1) / 6, lambda n: -z / ((2 * n + 4) * (2 * n + 5)))


def _cosine(z: Decimal) -> Decimal:
    return _series(Decimal(1) / 24, lambda n: -z / ((2 * n + 5) * (2 * n + 6)))


def _hyperbolic_sine(z: Decimal) -> Decimal:
    return _series(Decimal(1) / 6, lambda n: z / ((2 * n + 4) * (2 * n + 5)))


def _hyperbolic_tangent(z: Decimal) -> Decimal:
    """(tanh(x) - x) / x^3 for z = x^2, from the series of sinh and cosh."""
    cosine = _series(Decimal(1), lambda n: z / ((2 * n + 1) * (2 * n + 2)))
    # cosh(x) - sinh(x) / x, term by term, over z
    difference = _powers(z, lambda n: Decimal(2 * n + 2) / math.factorial(2 * n + 3))
    return -difference / cosine


def _powers(z: Decimal, weight: Callable[[int], Decimal]) -> Decimal:
    total, power, n = Decimal(0), Decimal(1), 0
    while power > _TINY:
        total += power * weight(n)
        power *= abs(z)
        n += 1
    return total


def _logarithm(z: Decimal) -> Decimal:
    return _powers(z, lambda n: Decimal(2) / (2 * n + 3))


def _logarithm_tail(z: Decimal) -> Decimal:
    return _powers(z, lambda n: Decimal(1) / (2 * n + 5))


def _arctangent(z: Decimal) -> Decimal:
    return _powers(z, lambda n: Decimal(1 if n % 2 else -1) / (2 * n + 3))


def _arcsine(z: Decimal) -> Decimal:
    def weight(n: int) -> Decimal:
        return Decimal(math.comb(2 * n + 2, n + 1)) / ((1 << (2 * n + 2)) * (2 * n + 3))

    return _powers(z, weight)


def _error_ratio(z: Decimal) -> Decimal:
    """erf(x) / x for z = x^2, by the series whose terms are all positive."""
    total = _series(Decimal(1), lambda n: 2 * z / (2 * n + 3))
    return 2 / _PI.sqrt() * (-z).exp() * total


def _error(z: Decimal) -> Decimal:
    return _error_ratio(z) - 1


def _complement(x: Decimal) -> Decimal:
    """exp(x^2) erfc(x): from erf below 6, by its continued fraction from there."""
    if x < 6:
        return (x * x).exp() * (1 - x * _error_ratio(x * x))
    fraction = Decimal(0)
    for n in range(1500, 0, -1):
        fraction = Decimal(n) / 2 / (x + fraction)
    return 1 / (x + fraction) / _PI.sqrt()


def _log_complement(x: Decimal) -> Decimal:
    return _complement(x).ln() - x * x


def _mapped_complement(u: Decimal) -> Decimal:
    """exp(x^2) erfc(x) / t for t = (u + 1) / 2 = 1 / (1 + x / 2); its limit at t = 0 is finite."""
    t = (u + 1) / 2
    return _complement(2 * (1 - t) / t) / t


@dataclass(frozen=True, slots=True)
class Fit:
    """A polynomial to fit: `function` over [low, high], and its degree in each format."""

    name: str
    meaning: str
    function: Callable[[Decimal], Decimal]
    low: Decimal
    high: Decimal
    degree_f32: int
    degree_f64: int | None


_HALF_LN2 = _LN2 * Decimal("0.505")
_OCTANT = (_PI / 4 * Decimal("1.001")) ** 2
_LOG_RANGE = Decimal("0.02945")  # ((sqrt 2 - 1) / (sqrt 2 + 1))^2, rounded up
_TAN_EIGHTH = Decimal("0.17158")  # tan(pi/8)^2, rounded up

FITS = (
    Fit("EXP", "(exp(r) - 1 - r) / r^2", _exponential, -_HALF_LN2, _HALF_LN2, 4, 9),
    Fit("SIN", "(sin(r) - r) / r^3 in r^2", _sine, Decimal(0), _OCTANT, 3, 5),
    Fit("COS", "(cos(r) - 1 + r^2/2) / r^4 in r^2", _cosine, Decimal(0), _OCTANT, 2, 5),
    Fit("LOG", "(2 atanh(s) - 2s) / s^3 in s^2", _logarithm, Decimal(0), _LOG_RANGE, 2, 6),
    Fit("LOG_TAIL", "(atanh(s) - s - s^3/3) / s^5 in s^2", _logarithm_tail, Decimal(0),
        _LOG_RANGE, 2, 7),
    Fit("ATAN", "(atan(z) - z) / z^3 in z^2", _arctangent, Decimal(0), _TAN_EIGHTH, 4, 10),
    Fit("ASIN", "(asin(z) - z) / z^3 in z^2", _arcsine, Decimal(0), Decimal("0.25"), 4, 12),
    Fit("SINH", "(sinh(x) - x) / x^3 in x^2", _hyperbolic_sine, Decimal(0), Decimal(1), 3, 6),
    Fit("TANH", "(tanh(x) - x) / x^3 in x^2", _hyperbolic_tangent, Decimal(0), Decimal("0.3026"),
        4, 10),
    Fit("ERF", "erf(x) / x - 1 in x^2", _error, Decimal(0), Decimal("0.86"), 5, 11),
    Fit("ERFC", "log(erfc(x))", _log_complement, Decimal("0.92"), Decimal("3.95"), 8, None),
    Fit("ERFCX", "exp(x^2) erfc(x) / t in u = 2t - 1, t = 1 / (1 + x/2)", _mapped_complement,
        Decimal("-0.9"), Decimal(1), 10, 24),
)  # fmt: skip


def interpolate(fit: Fit, degree: int) -> list[Decimal]:
    """Coefficients, constant term first, of the polynomial through the Chebyshev nodes."""
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    nodes = [
        middle + half * Decimal(math.cos(math.pi * (2 * i + 1) / (2 * degree + 2)))
        for i in range(degree + 1)
    ]
    differences = [fit.function(node) for node in nodes]
    for order in range(1, degree + 1):
        for i in range(degree, order - 1, -1):
            step = nodes[i] - nodes[i - order]
            differences[i] = (differences[i] - differences[i - 1]) / step
    coefficients = [Decimal(0)] * (degree + 1)
    for difference, node in zip(reversed(differences), reversed(nodes), strict=True):
        shifted = [Decimal(0), *coefficients[:-1]]
        coefficients = [up - node * c for up, c in zip(shifted, coefficients, strict=True)]
        coefficients[0] += difference
    return coefficients


def error_bits(fit: Fit, coefficients: list[Decimal]) -> float:
    """log2 of the largest difference on a grid, before rounding the coefficients."""
    worst = Decimal(0)
    for i in range(101):
        x = fit.low + (fit.high - fit.low) * i / 100
        value = Decimal(0)
        for c in reversed(coefficients):
            value = value * x + c
        worst = max(worst, abs(value - fit.function(x)))
    return float(worst.ln() / _LN2)


def rounded(value: Decimal, *, single: bool) -> float:
    """The nearest number of the format."""
    return float(np.float32(float(value))) if single else float(value)


def main() -> None:
    """Prints the module."""
    print('"""Polynomial coefficients, constant term first, by benchmarks/fit_polynomials.py."""')
    print("\nfrom lepton_cc.ir.dtype import DType\n")
    for fit in FITS:
        print(f"# {fit.meaning}, {float(fit.low):.4g} to {float(fit.high):.4g}")
        print(f"{fit.name} = {{")
        for label, degree in (("F32", fit.degree_f32), ("F64", fit.degree_f64)):
            if degree is None:
                continue
            exact = interpolate(fit, degree)
            print(f"    DType.{label}: (  # error 2^{error_bits(fit, exact):.1f}")
            for c in exact:
                print(f"        {rounded(c, single=label == 'F32')!r},")
            print("    ),")
        print("}")


if __name__ == "__main__":
    main()
