"""Code in this process: it may be part of a cycle that the garbage collector takes apart."""

import subprocess
import sys
from pathlib import Path

# In a process of its own, for a crash is what it would show.
_CYCLES = r"""
import gc
from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.targets.loader import load_target

class Holder:
    pass

for _ in range(20):
    holder = Holder()
    holder.itself = holder
    holder.code = LoadedCode("define void @f() {\n ret void\n}", load_target("x86-64"), 0)
    holder.code.function("f", 0)()
    del holder
    gc.collect()
print("alive")
"""


def test_code_in_a_cycle_is_freed_in_order(project_root: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _CYCLES],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "alive\n"), result.stderr
