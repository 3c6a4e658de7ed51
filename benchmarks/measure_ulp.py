"""Measures the error of every float function against extended precision; prints a Markdown table.

python -m benchmarks.measure_ulp
"""

from lepton_cc.ir.dtype import DType
from tests.codegen.kernel.ulp import CASES, measure, measure_power


def _row(name: str, worst: dict[DType, float]) -> str:
    return f"| {name} | {worst[DType.F32]:.2f} | {worst[DType.F64]:.2f} |"


def main() -> None:
    """Prints the table: the larger error of fused and unfused multiply-adds in binary32."""
    print("| function | f32, ULP | f64, ULP |\n|---|---|---|")
    for function in CASES:
        single = max(measure(function, DType.F32, fused=fused)[0] for fused in (False, True))
        double = measure(function, DType.F64)[0]
        print(_row(function.value, {DType.F32: single, DType.F64: double}))
    single = max(measure_power(DType.F32, fused=fused)[0] for fused in (False, True))
    print(_row("pow", {DType.F32: single, DType.F64: measure_power(DType.F64)[0]}))


if __name__ == "__main__":
    main()
