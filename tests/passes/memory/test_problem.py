"""Problems that make no sense are refused with a reason."""

import pytest

from lepton_cc.passes.memory import Buffer, InPlace, MemoryProblem, Overlap, View

A = Buffer("a", 64, 0, 1)
B = Buffer("b", 32, 1, 2)


@pytest.mark.parametrize(
    ("buffers", "relations", "message"),
    [
        ((A, A), {}, "'a' is there 2 times"),
        ((Buffer("a", -1, 0, 0),), {}, "negative size"),
        ((Buffer("a", 1, 2, 1),), {}, "lives from 2 to 1"),
        ((Buffer("a", 1, 0, 1, alignment=12),), {}, "12 is no power of two"),
        ((A, B), {"views": (View("b", "c"),)}, "'c' is not a buffer"),
        ((A, B), {"views": (View("b", "a", 48),)}, "leaves 'a'"),
        ((A, B), {"views": (View("b", "a", 8),)}, "breaks its own alignment"),
        (
            (A, A_TWIN := Buffer("c", 64, 0, 0)),
            {"views": (View("a", "c"), View("c", "a"))},
            "circle",
        ),
        ((A, B, A_TWIN), {"views": (View("b", "a"), View("b", "c"))}, "view of 2 buffers"),
        ((A, B), {"in_place": (InPlace(1, "b", "b"),)}, "related to itself"),
        ((A, B), {"overlaps": (Overlap("b", "a", -1),)}, "is negative"),
    ],
)
def test_faulty_problem_is_refused(
    buffers: tuple[Buffer, ...],
    relations: dict[str, tuple[View | InPlace | Overlap, ...]],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryProblem(buffers, **relations)  # type: ignore[arg-type]  # one relation a row
