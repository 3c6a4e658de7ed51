"""Why some ONNX operators will never be compiled, and what a user can do instead."""

from collections.abc import Mapping

_RANDOM = (
    "its result is random, and compiled code gives the same bits for the same inputs",
    "export the model for inference, or make the random numbers a graph input",
)
_DATA_DEPENDENT = "the shape of its result hangs on data, and all memory is planned before"
_TRAINING = (
    "it trains the model, and only inference is compiled",
    "export the model for inference",
)

# (domain, op_type) -> (reason, what to do).
REASONS: Mapping[tuple[str, str], tuple[str, str]] = {
    **{
        ("", name): _RANDOM
        for name in (
            "Multinomial",
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        )
    },
    ("", "NonMaxSuppression"): (
        _DATA_DEPENDENT,
        "end the model at the boxes and scores, and select among them in the firmware",
    ),
    ("", "ImageDecoder"): ("it reads compressed images", "decode the image before the model"),
    **{
        ("ai.onnx.preview.training", name): _TRAINING
        for name in ("Adagrad", "Adam", "Gradient", "Momentum")
    },
}
