"""Reading inputs from files and cutting them into samples."""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.program import Port
from lepton_cc.ir.diagnostics import Refused, UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.sample_inputs import made_up_inputs, read_inputs, samples

X = Port("x", "x", TensorType(DType.F32, (1, 3)))
N = Port("n", "n", TensorType(DType.I64, (2,)))


def test_reads_both_kinds_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "b.npz", n=np.arange(2))
    arrays = read_inputs([f"x={tmp_path / 'a.npy'}", str(tmp_path / "b.npz")])
    assert {name: array.tolist() for name, array in arrays.items()} == {"x": [0, 1, 2], "n": [0, 1]}


def test_refuses_pickles(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Refused, match="cannot read"):
        read_inputs([f"x={tmp_path / 'a.npy'}"])


def test_an_archive_is_given_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", n=np.arange(2))
    with pytest.raises(UsageError, match="give it alone"):
        read_inputs([f"x={tmp_path / 'b.npz'}"])


@pytest.mark.parametrize("shape", [(5, 1, 3), (5, 3)])
def test_a_leading_axis_counts_samples(shape: tuple[int, ...]) -> None:
    stack = np.arange(15, dtype=np.float32).reshape(shape)
    found = list(samples([X], {"x": stack}))
    assert [sample["x"].tolist() for sample in found] == stack.reshape(5, 1, 3).tolist()


def test_one_sample_is_no_stack() -> None:
    (sample,) = samples([N], {"n": np.array([7, 8])})
    assert sample["n"].tolist() == [7, 8]


def test_the_only_array_that_fits_is_the_only_input() -> None:
    arrays: dict[str, Array] = {
        "images": np.zeros((2, 3), np.float32),
        "labels": np.zeros(2, np.int64),
    }
    assert len(list(samples([X], arrays))) == 2
    with pytest.raises(Refused, match="input 'x'"):
        list(samples([X, N], arrays))


def test_numbers_of_samples_must_agree() -> None:
    arrays: dict[str, Array] = {"x": np.zeros((2, 3), np.float32), "n": np.zeros((3, 2), np.int64)}
    with pytest.raises(Refused, match="numbers of samples differ"):
        list(samples([X, N], arrays))


def test_nothing_is_converted() -> None:
    with pytest.raises(Refused, match=r"float64\[1, 3\], the model takes f32\[1, 3\]"):
        list(samples([X], {"x": np.zeros((1, 3))}))


def test_made_up_inputs_depend_on_the_seed_alone() -> None:
    first, again, other = (made_up_inputs([X, N], seed) for seed in (1, 1, 2))
    assert first["x"].tobytes() == again["x"].tobytes() != other["x"].tobytes()
    assert first["n"].dtype == np.int64
