"""The libraries that are measured beside us, in the order of their columns."""

from collections.abc import Sequence

from benchmarks.peers.lite_rt import LiteRt
from benchmarks.peers.open_vino import OpenVino
from benchmarks.peers.ort import OnnxRuntime
from benchmarks.peers.peer import Form, Peer

PEERS: Sequence[Peer] = (
    OnnxRuntime(Form.S8),
    OnnxRuntime(Form.U8),
    OpenVino(Form.S8),
    OpenVino(Form.U8),
    LiteRt(),
)
