"""Ways to prune as users write them."""

import pytest

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.passes.prune.pattern import UNSTRUCTURED, Pattern, PatternKind
from lepton_cc.pruning.options import PruneOptions, read_options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("unstructured:0.5", PruneOptions(0.5, UNSTRUCTURED)),
        ("channels:.3", PruneOptions(0.3, channels=True)),
        ("heads:0.25", PruneOptions(0.25, heads=True)),
        ("channels-arena:0.3", PruneOptions(0.3, channels=True, arena=True)),
        ("2:4", PruneOptions(0.5, Pattern(PatternKind.N_OF_M, 4, nonzeros=2))),
        ("1:4", PruneOptions(0.75, Pattern(PatternKind.N_OF_M, 4, nonzeros=1))),
        ("blocks-1x16:0.75", PruneOptions(0.75, Pattern(PatternKind.BLOCKS, 1, 16))),
    ],
)
def test_a_way_to_prune_is_read(text: str, options: PruneOptions) -> None:
    assert read_options(text) == options
    assert read_options(options.title) == options


@pytest.mark.parametrize(
    "text",
    [
        "",
        "half",
        "4:4",
        "0:4",
        "unstructured",
        "unstructured:1.5",
        "blocks-0x4:0.5",
        "x:0.5",
        "2:4:0.5",
    ],
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no way to prune"):
        read_options(text)
