"""Hypothesis strategies for memory problems and step graphs, with every kind of relation."""

from hypothesis import strategies as st

from lepton_cc.passes.memory import (
    Buffer,
    Direction,
    InPlace,
    MemoryProblem,
    Overlap,
    Step,
    StepGraph,
    Storage,
    View,
)

Draw = st.DrawFn
SIZES = st.one_of(st.integers(0, 40), st.integers(1, 12).map(lambda n: 16 * n))
ALIGNMENTS = st.sampled_from((1, 4, 16, 16, 16, 32))


@st.composite
def problems(
    draw: Draw,
    max_buffers: int = 10,
    sizes: st.SearchStrategy[int] = SIZES,
    alignments: st.SearchStrategy[int] = ALIGNMENTS,
) -> MemoryProblem:
    """Chain-like buffers, so that many end where others begin, with permissions and views."""
    buffers: list[Buffer] = []
    for index in range(draw(st.integers(0, max_buffers))):
        first = draw(st.integers(0, 8))
        last = first + draw(st.integers(0, 4))
        buffers.append(Buffer(f"b{index}", draw(sizes), first, last, draw(alignments)))
    views: list[View] = []
    for number, part in enumerate(buffers[1:], start=1):
        whole = buffers[draw(st.integers(0, number - 1))]
        room = (whole.size_bytes - part.size_bytes) // 16
        if room >= 0 and whole.alignment <= 16 and draw(st.integers(0, 3)) == 0:
            offset = 16 * draw(st.integers(0, room))
            views.append(View(part.name, whole.name, offset if part.alignment <= 16 else 0))
    pairs = [
        (output, source)
        for output in buffers
        for source in buffers
        if output is not source and output.first_step == source.last_step
    ]
    in_place, overlaps = [], []
    for output, source in pairs:
        kind = draw(st.integers(0, 3))
        if kind == 1:
            in_place.append(InPlace(output.first_step, output.name, source.name))
        if kind > 1:
            reach, way = draw(st.integers(0, 200)), draw(st.sampled_from(Direction))
            overlaps.append(Overlap(output.name, source.name, reach, way))
    wide = {buffer.name for buffer in buffers if buffer.alignment > 16}
    kept = tuple(v for v in views if v.buffer not in wide)
    return MemoryProblem(tuple(buffers), kept, tuple(in_place), tuple(overlaps))


@st.composite
def step_graphs(draw: Draw, max_steps: int = 7, *, relations: bool = True) -> StepGraph:
    """Steps of one output each, reading any earlier buffers; sometimes a step makes a view."""
    storages = [Storage("in", draw(SIZES), is_input=True)]
    steps: list[Step] = []
    views: list[View] = []
    in_place: list[InPlace] = []
    for index in range(draw(st.integers(1, max_steps))):
        sources = draw(st.lists(st.sampled_from(storages), min_size=1, max_size=3, unique=True))
        name, is_output = f"b{index}", draw(st.integers(0, 5)) == 0
        size = draw(SIZES)
        kind = draw(st.integers(0, 3)) if relations else 0
        if kind == 1:
            size = sources[0].size_bytes
            views.append(View(name, sources[0].name))
        if kind == 2:
            in_place.append(InPlace(index, name, sources[0].name))
        storages.append(Storage(name, size, is_output=is_output))
        steps.append(Step(tuple(source.name for source in sources), (name,)))
    return StepGraph(tuple(steps), tuple(storages), tuple(views), tuple(in_place))
