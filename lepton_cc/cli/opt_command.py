"""`lepton opt MODEL -p PASS,...`: a graph in, passes, the graph's text out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session

if TYPE_CHECKING:
    from lepton_cc.ir.graph import Graph

_LIR = ".lir"


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="MODEL.lir|MODEL.onnx")
@click.option("-p", "pipeline", default="", metavar="PASS,...", help="`a,b{limit=16},(c,d)*`")
@click.option(
    "-o", "out", type=options.FILE, metavar="FILE.lir", help="Write there, not to stdout."
)
@options.dims
@click.pass_context
def opt(
    ctx: click.Context, *, model: Path, pipeline: str, out: Path | None, dims: tuple[str, ...]
) -> None:
    """Applies passes to a graph."""
    from lepton_cc.ir.lir_file import write_lir
    from lepton_cc.ir.printer import print_graph
    from lepton_cc.passes.catalogue import PASSES
    from lepton_cc.passes.manager import PassManager
    from lepton_cc.passes.pipeline_text import parse_pipeline

    steps = parse_pipeline(pipeline, PASSES) if pipeline else ()
    graph = PassManager(steps, [ctx.ensure_object(Session)]).run(read_graph(model, dims))
    if out is None:
        click.echo(print_graph(graph), nl=False)
    else:
        write_lir(graph, out)


def read_graph(model: Path, dims: tuple[str, ...]) -> "Graph":
    """The graph in a `.lir` file, or the one that a model is imported as.

    Raises:
        Refused: the file cannot be read, or the model is not supported.
    """
    from lepton_cc.frontend.importer import import_model
    from lepton_cc.ir.lir_file import read_lir

    if model.suffix == _LIR:
        return read_lir(model)
    return import_model(model, dims=options.read_dims(dims))
