"""Names in a model must be text: protobuf gives bytes, not str, for one that is not UTF-8."""

from collections.abc import Iterable, Sequence

import onnx

from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.ir.diagnostics import Code


def check_text(texts: Iterable[object]) -> None:
    """Refuses what is not text.

    Raises:
        NodeRefusal: one of the fields is not UTF-8.
    """
    for text in texts:
        if not isinstance(text, str):
            raise NodeRefusal(f"the name {text!r} is not UTF-8", code=Code.MODEL_MALFORMED)


def check_nodes_text(nodes: Sequence[onnx.NodeProto]) -> None:
    """Checks all names of nodes and of their attributes, but not inside their subgraphs."""
    for node in nodes:
        check_text((node.name, node.op_type, node.domain, node.overload))
        check_text(node.input)
        check_text(node.output)
        check_text(attribute.name for attribute in node.attribute)
        check_text(attribute.ref_attr_name for attribute in node.attribute)


def check_graph_text(graph: onnx.GraphProto) -> None:
    """Checks all names of a graph, but not inside the subgraphs of its nodes."""
    check_text((graph.name,))
    for info in (*graph.input, *graph.output):
        check_text((info.name,))
        check_text(dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        check_text((tensor.name,))
        check_text(entry.key for entry in tensor.external_data)
        check_text(entry.value for entry in tensor.external_data)
    check_nodes_text(graph.node)
