"""Lowering: from graph ops to kernels.

How it works, and how to add an op:

- A *pointwise* op (trait POINTWISE) is an expression of its operands' elements: add a branch to
  `pointwise.pointwise_value`, nothing else.
- A *movement* op (or any op whose result element is an expression of operand elements at computed
  indices) is a `Source` made from sources: add a function to `movement.MOVEMENT_SOURCES`.
- Everything else is an *anchor*: a function `lower_x(context) -> Block` in its family's file,
  registered in `anchors.ANCHORS`. It reads operands through `context.source(i).at(index)` (or
  `.at_linear(number)`), makes loops with `kernel.schedule` (`nest`, `loop`, `vectorized`,
  `lanes_of`), keeps accumulators in `context.registers(...)`, and writes each result element once
  through `context.sink.store(index, value)` (`context.sinks[i]` for several results), which
  applies fused ops. `context.constant_array(i)` is the content of a constant operand,
  `context.constant(array)` a table in any layout that the kernel likes, `context.scratch(...)`
  memory of its own. Values are in the compute type of their dtype (`representation`).
  A lowering reads an input element only before it could have been overwritten by the result, if
  the op is listed in `in_place`.

`dispatch.lower_op` puts it together. Kernels are built anew for every shape.
"""
