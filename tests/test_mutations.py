"""Deliberate faults can be put in; `python -m tests.mutations` says which test catches each."""

import ast
import shutil

import pytest

from tests.conftest import REPOSITORY
from tests.mutations.__main__ import Fault, load_faults

FAULTS = load_faults()
PACKAGES = sorted({path.parent.name for path in (REPOSITORY / "remdm").glob("*/*.py")})


def test_names_tell_faults_apart():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_fault(package):
    assert any(fault.file.startswith(f"remdm/{package}/") for fault in FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_stands_once_and_is_python_still(fault, tmp_path):
    copy = tmp_path / fault.file
    copy.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / fault.file, copy)
    before = copy.read_text()
    fault.apply(tmp_path)
    assert ast.dump(ast.parse(copy.read_text())) != ast.dump(ast.parse(before))
    assert all((REPOSITORY / test).is_file() for test in fault.tests.split())


@pytest.mark.parametrize(("text", "count"), [("nothing of it\n", 0), ("x = 1\nx = 1\n", 2)])
def test_a_place_that_is_gone_or_not_the_only_one_is_named(text, count, tmp_path):
    (tmp_path / "module.py").write_text(text)
    with pytest.raises(ValueError, match=rf"one: module\.py holds 'x = 1' {count} times, not once"):
        Fault("one", "", "module.py", "x = 1", "x = 2", "").apply(tmp_path)
