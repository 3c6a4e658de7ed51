"""How an index depends on a variable: what decides between vector loads, splats and gathers."""

from lepton_cc.codegen.kernel.expr import Binary, BinaryOp, Cast, Const, Expr, Var


def depends_on(expr: Expr, var: Var) -> bool:
    """True if `var` occurs in `expr`."""
    seen: set[Expr] = set()  # math expressions share parts, so that walking them as a tree is slow
    pending = [expr]
    while pending:
        top = pending.pop()
        if top is var:
            return True
        if top not in seen:
            seen.add(top)
            pending.extend(top.operands())
    return False


def coefficient(expr: Expr, var: Var) -> int | None:
    """k if expr = k * var + (something without var), with a constant k; None if it is not so."""
    if expr is var:
        return 1
    if isinstance(expr, Binary) and expr.op in (BinaryOp.ADD, BinaryOp.SUB):
        left, right = coefficient(expr.lhs, var), coefficient(expr.rhs, var)
        if left is None or right is None:
            return None
        return left + right if expr.op is BinaryOp.ADD else left - right
    if isinstance(expr, Binary) and expr.op is BinaryOp.MUL:
        left, right = coefficient(expr.lhs, var), coefficient(expr.rhs, var)
        if isinstance(expr.rhs, Const) and left is not None:
            return left * int(expr.rhs.value)
        if isinstance(expr.lhs, Const) and right is not None:
            return right * int(expr.lhs.value)
        return 0 if left == 0 and right == 0 else None
    if isinstance(expr, Cast):
        return coefficient(expr.operand, var)
    return None if depends_on(expr, var) else 0
