"""One quantized network's measurement: ours and every library's, in turns, in one process."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx

from benchmarks.contest import in_turns
from benchmarks.peers.peer import Absent, Form, Forms, Loaded, Peer
from lepton_cc.codegen.costs import num_macs
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.tensor import Array
from lepton_cc.measure.bench import CompiledContender, threaded
from lepton_cc.measure.layer_times import LayerTime
from lepton_cc.measure.spin_pool import SpinPool
from lepton_cc.measure.turns import pinned

TURN_SECONDS = 0.01
_REST_SECONDS = 0.002
_MOST_RESTS = 100
_PROFILED_RUNS = 100
_LEAST_COSINE = 0.99


@dataclass(frozen=True, slots=True)
class PeerTime:
    """A library's least seconds of a run, or the reason why there are none."""

    name: str
    seconds: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured with one number of threads; `layers` only with one thread.

    `num_macs`: those of the model as it came; its layers may do more, where channels are padded to
    whole words. `weights_bytes`: its int8 weights as they are stored.
    """

    name: str
    num_threads: int
    seconds: float
    num_macs: int
    weights_bytes: int
    peers: tuple[PeerTime, ...]
    layers: tuple[LayerTime, ...]

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds a second."""
        return self.num_macs / self.seconds / 1e9

    @property
    def fastest(self) -> tuple[str, float] | None:
        """Name and seconds of the fastest library."""
        there = [(peer.seconds, peer.name) for peer in self.peers if peer.seconds is not None]
        return (min(there)[1], min(there)[0]) if there else None


def measure_apart(forms: Forms, peers: Sequence[Peer], num_threads: int, num_turns: int) -> Result:
    """`measure` in a new process: thread pools of libraries keep the CPUs that they began with."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, forms, peers, num_threads, num_turns).result()


def measure(forms: Forms, peers: Sequence[Peer], num_threads: int, num_turns: int) -> Result:
    """Compiles and loads one network, and times it on as many CPUs as threads."""
    with pinned(num_threads):
        target = load_target("host")
        compilation = compile_model(forms.onnx[Form.S8], CompileOptions(target, name="model"))
        contender = CompiledContender(compilation, forms.inputs)
        contender.run(None)
        expected = next(iter(contender.outputs.values()))
        loaded = [_load(peer, forms, num_threads, expected) for peer in peers]
        ours: Callable[[int], float] = contender.seconds
        if num_threads > 1:
            ours = threaded(contender, SpinPool(num_threads, target))
        there = [one for one in loaded if not isinstance(one, Absent)]
        mine, *its = in_turns(
            (ours, *(one.seconds for one in there)),
            num_turns=num_turns,
            turn_seconds=TURN_SECONDS,
            rest=_come_to_rest if num_threads > 1 else lambda: None,
        )
        layers = contender.profile(min(_PROFILED_RUNS, num_turns)) if num_threads == 1 else ()
    times = iter(its)
    return Result(
        forms.name,
        num_threads,
        mine,
        sum(num_macs(op) for op in compilation.imported.ops),
        _weights_bytes(onnx.load(forms.onnx[Form.S8])),
        tuple(
            PeerTime(peer.name, None, str(one))
            if isinstance(one, Absent)
            else PeerTime(peer.name, next(times))
            for peer, one in zip(peers, loaded, strict=True)
        ),
        layers,
    )


def _come_to_rest() -> None:
    """Waits for the threads of the last turn: ONNX Runtime's go on spinning for up to 50 ms."""
    for _ in range(_MOST_RESTS):
        before = time.process_time()
        time.sleep(_REST_SECONDS)
        if time.process_time() - before < _REST_SECONDS / 10:
            return


def _load(peer: Peer, forms: Forms, num_threads: int, expected: Array) -> Loaded | Absent:
    """A library with the network in it, if it gives about the same result."""
    try:
        loaded = peer.load(forms, num_threads)
    except Absent as absence:
        return absence
    cosine = _cosine(loaded.output, expected)
    if not cosine >= _LEAST_COSINE:
        return Absent(f"gives another result (cosine {cosine:.2f})")
    return loaded


def _cosine(lhs: Array, rhs: Array) -> float:
    a, b = lhs.reshape(-1).astype(np.float64), rhs.reshape(-1).astype(np.float64)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))


def _weights_bytes(model: onnx.ModelProto) -> int:
    weights = [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
    return sum(int(np.prod(tensor.dims)) for tensor in weights)
