"""The wheel brings one top-level name, with every package and data file in it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    # A copy, since building leaves its folder behind, and what is left behind gets into the next wheel.
    copy = shutil.copytree(
        ROOT, out / "source", ignore=shutil.ignore_patterns(".git", ".venv*", "runs", "build", "*.egg-info", ".*_cache")
    )
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_only_affectllm_is_installed(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"affectllm"}


def test_every_module_and_data_file_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    folders = {
        "affectllm": "affectllm",
        **{name: f"affectllm/{name}" for name in ("train", "eval", "data_builders", "demo")},
    }
    kinds = (".py", ".yaml", ".json", ".jinja", ".tsv")
    for folder, target in folders.items():
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in kinds and "__pycache__" not in path.parts:
                assert f"{target}/{path.relative_to(ROOT / folder).as_posix()}" in inside, path
