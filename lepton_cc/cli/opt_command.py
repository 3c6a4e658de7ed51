"""`lepton opt MODEL -p PASS,...`: a graph in, passes, the graph's text out."""

from pathlib import Path

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session


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
    from lepton_cc.frontend.model_source import source_graph
    from lepton_cc.ir.lir_file import write_lir
    from lepton_cc.ir.printer import print_graph
    from lepton_cc.passes.catalogue import PASSES
    from lepton_cc.passes.manager import PassManager
    from lepton_cc.passes.pipeline_text import parse_pipeline

    steps = parse_pipeline(pipeline, PASSES) if pipeline else ()
    graph = PassManager(steps, [ctx.ensure_object(Session)]).run(
        source_graph(model, dims=options.read_dims(dims))
    )
    if out is None:
        click.echo(print_graph(graph), nl=False)
    else:
        write_lir(graph, out)
