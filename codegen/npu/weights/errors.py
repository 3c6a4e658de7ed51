"""What makes bytes no weight slice: the engine's fault WEIGHT_STREAM."""


class WeightStreamError(ValueError):
    """A slice ends too early, has a byte too many, or holds what its encoding does not define."""
