"""ONNX's own node tests through the backend, against lists that are checked in.

`node_tests_passing.txt` only grows: what it lists must pass. `node_tests_refused.txt` says with
which codes the rest is turned down; every case is in one of the two, none crashes or is wrong.
`pytest --update-golden -m slow` adds cases that now pass and writes the refused ones anew.
"""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.lepton_cc.backend.case_runner import Outcome, Verdict, node_cases, run_cases

FOLDER = Path(__file__).parent
PASSING = FOLDER / "node_tests_passing.txt"
REFUSED = FOLDER / "node_tests_refused.txt"
SAMPLE_SIZE = 100


def listed_passing() -> tuple[str, ...]:
    return tuple(PASSING.read_text(encoding="utf-8").split())


def listed_refused() -> dict[str, str]:
    lines = REFUSED.read_text(encoding="utf-8").splitlines()
    return {name: code for name, code in (line.split() for line in lines)}


def known_here(names: tuple[str, ...]) -> list[str]:
    """The listed cases that the installed onnx has; older and newer ones have others."""
    return [name for name in names if name in node_cases()]


def faults(outcomes: Mapping[str, Outcome], passing: set[str]) -> list[str]:
    """What breaks the promise: a listed case that does not pass, an unclean end of any other."""
    return [
        f"{outcome.verdict}: {name}: {outcome.detail[:300]}"
        for name, outcome in sorted(outcomes.items())
        if outcome.verdict is not Verdict.PASSED
        and (name in passing or outcome.verdict is not Verdict.REFUSED)
    ]


def write_lists(outcomes: Mapping[str, Outcome]) -> None:
    passed = {name for name, o in outcomes.items() if o.verdict is Verdict.PASSED}
    passing = sorted(passed | set(listed_passing()))
    PASSING.write_text("".join(f"{name}\n" for name in passing), encoding="utf-8")
    refused = [
        f"{name} {outcome.code or 'none'}\n"
        for name, outcome in sorted(outcomes.items())
        if outcome.verdict is Verdict.REFUSED
    ]
    REFUSED.write_text("".join(refused), encoding="utf-8")


def test_lists_are_sorted_and_disjoint() -> None:
    passing, refused = listed_passing(), tuple(listed_refused())
    assert list(passing) == sorted(set(passing))
    assert list(refused) == sorted(set(refused))
    assert not set(passing) & set(refused)


@pytest.mark.slow
def test_a_sample_of_the_passing_cases_passes() -> None:
    names = known_here(listed_passing())
    sample = random.Random(7).sample(names, SAMPLE_SIZE)
    outcomes = {outcome.name: outcome for outcome in run_cases(sample)}
    assert len(outcomes) == SAMPLE_SIZE
    assert not faults(outcomes, set(sample))


@pytest.mark.slow
def test_every_case_passes_or_is_refused(*, update_golden: bool) -> None:
    outcomes = {outcome.name: outcome for outcome in run_cases(tuple(node_cases()))}
    assert set(outcomes) == set(node_cases())
    if update_golden:
        write_lists(outcomes)
    found = faults(outcomes, set(listed_passing()))
    assert not found, "\n".join(found)
    new = {name for name, o in outcomes.items() if o.verdict is Verdict.PASSED}
    unlisted = sorted(new - set(listed_passing()))
    assert not unlisted, f"pass, but are not listed (run with --update-golden): {unlisted}"


def test_a_case_that_kills_its_worker_is_blamed() -> None:
    outcomes = list(run_cases(["no such case", "test_add"], num_workers=1))
    assert [(o.name, o.verdict) for o in outcomes] == [
        ("no such case", Verdict.CRASHED),
        ("test_add", Verdict.PASSED),
    ]
