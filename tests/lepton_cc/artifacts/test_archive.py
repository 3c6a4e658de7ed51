"""The ar writer: what it writes is read by itself and by the system's tools."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lepton_cc.artifacts.archive import Member, global_symbols, read_archive, write_archive
from tests.lepton_cc.artifacts.native_program import compiler


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Member]:
    folder = tmp_path_factory.mktemp("objects")
    members = []
    for name in ("a.o", "exactly15char.o", "a_name_of_more_than_15.o", "another_long_name.o"):
        source, out = folder / f"{name}.c", folder / name
        function = name.removesuffix(".o")
        source.write_text(
            f"int {function}(void) {{ return {len(name)}; }}\nstatic int s;\n"
            f"int *{function}_s(void) {{ return &s; }}\n",
            encoding="utf-8",
        )
        subprocess.run([compiler("gcc"), "-c", source, "-o", out], check=True)
        members.append(Member(name, out.read_bytes()))
    return members


def test_reads_what_it_writes(objects: list[Member]) -> None:
    assert list(read_archive(write_archive(objects))) == objects


def test_odd_sizes_are_padded(objects: list[Member]) -> None:
    odd = [Member(m.name, m.content + b"\0" * (number % 2)) for number, m in enumerate(objects)]
    assert list(read_archive(write_archive(odd))) == odd


def test_index_names_every_global_function(objects: list[Member]) -> None:
    assert global_symbols(objects[0].content) == ("a", "a_s")


def test_the_systems_ar_and_nm_agree(objects: list[Member], tmp_path: Path) -> None:
    if shutil.which("ar") is None or shutil.which("nm") is None:
        pytest.skip("no binutils on this machine")
    library = tmp_path / "lib.a"
    library.write_bytes(write_archive(objects))
    listed = subprocess.run(["ar", "t", library], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == [member.name for member in objects]
    for member in objects:
        printed = subprocess.run(["ar", "p", library, member.name], capture_output=True, check=True)
        assert printed.stdout == member.content
    index = subprocess.run(["nm", "-s", library], capture_output=True, text=True, check=True)
    table = index.stdout.partition("\n\n")[0]
    for member in objects:
        for symbol in global_symbols(member.content):
            assert f"{symbol} in {member.name}" in table


def test_a_linker_takes_members_through_the_index(objects: list[Member], tmp_path: Path) -> None:
    library, main = tmp_path / "lib.a", tmp_path / "main.c"
    library.write_bytes(write_archive(objects))
    main.write_text("int another_long_name(void); int main(void) { return another_long_name(); }\n")
    program = tmp_path / "program"
    subprocess.run([compiler("gcc"), main, library, "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == len("another_long_name.o")


def test_refuses_other_files() -> None:
    with pytest.raises(ValueError, match="not an ar archive"):
        read_archive(b"\x7fELF")


def test_refuses_a_cut_file(objects: list[Member]) -> None:
    with pytest.raises(ValueError, match="truncated"):
        read_archive(write_archive(objects)[:-40])
