"""The GPU benchmark at toy size on a CPU: each section writes its rows, a failure is noted, and time limits hold."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from affectllm.errors import AffectError
from benchmarks import gpu
from benchmarks.gpu_book import Book
from benchmarks.gpu_quickstart import scores
from tests.tiny_models import need

ROOT = Path(gpu.__file__).parents[1]
# One process goes through every section: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of all sections but the quickstart and what repeats one at another length, run as a user runs them."""
    need("Qwen2.5-Omni Thinker")
    out = tmp_path_factory.mktemp("gpu")
    asked = ["--tiny", "--sections", "families", "sft", "grpo", "memory", "predict", "--minutes", "300"]
    # On a machine with a GPU too, this is a test of the CPU's road.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "AFFECTLLM_CACHE": str(out / "cache")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *asked, "--out", str(out)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + (out / "gpu_cpu.log").read_text()
    return json.loads((out / "gpu_cpu.json").read_text())


def names(results: dict[str, Any], section: str) -> list[str]:
    return [row["name"] for row in results["rows"] if row["section"] == section]


def test_every_stage_of_a_family_writes_its_row(results: dict[str, Any]) -> None:
    assert names(results, "families") == ["sft", "media", "grpo shared", "grpo rows", "dpo", "predict", "merge"]


def test_rows_carry_what_was_measured(results: dict[str, Any]) -> None:
    rates = [row for row in results["rows"] if row["section"] == "sft" and row["unit"] == "tokens/s"]
    assert [row["name"] for row in rates] == [
        "sft, batch 2, default checkpointing", "sft, batch 1, no checkpointing", "sft best",
    ]  # fmt: skip
    assert rates[0]["value"] == pytest.approx(
        2 * (rates[0]["prompt_tokens"] + rates[0]["answer_tokens"]) / rates[0]["step_s"], rel=1e-2
    )
    assert {"weights", "gradients", "optimizer", "activations", "head"} == set(rates[0]["planned_parts_gib"])
    assert any(name.startswith("grpo completions") for name in names(results, "grpo"))
    assert {"encoders", "predict, batch 2"} <= set(names(results, "predict"))
    assert len(names(results, "memory")) == 1


def test_results_say_what_made_them(results: dict[str, Any]) -> None:
    assert results["machine"]["card"] is None
    assert results["machine"]["versions"]["torch"]
    assert results["options"]["tiny"] is True
    assert set(results["sections"]) == {"families", "sft", "grpo", "memory", "predict"}
    assert not results["failures"]


def test_a_failure_is_noted_and_the_run_goes_on(tmp_path: Path) -> None:
    book = Book(tmp_path, {}, 1.0)
    with book.timed("one", 10.0):
        raise ValueError("first line\nsecond line")
    with book.timed("two", 10.0), book.part("a"):
        book.row("a", 1 / 3, "s", 1)
    found = json.loads(book.path.read_text())
    assert found["failures"] == [{"section": "one", "what": "one", "error": "ValueError: first line"}]
    assert found["rows"] == [{"section": "two", "name": "a", "value": 0.33333, "unit": "s", "n": 1}]
    assert "second line" in book.log.read_text()


def test_a_section_is_cut_after_its_time(tmp_path: Path) -> None:
    book = Book(tmp_path, {}, 1.0)
    with book.timed("slow", 0.1), book.part("a part"):
        time.sleep(30)
    assert "TooLong" in book.found["failures"][0]["error"]
    assert book.found["sections"]["slow"]["seconds"] < 5


def test_a_section_that_no_longer_fits_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.main(gpu.Benchmark(sections=("families", "qlora"), minutes=0.1, out=tmp_path, tiny=True)) == 0
    rows = json.loads(next(tmp_path.glob("gpu_*.json")).read_text())["rows"]
    assert [(row["section"], row["unit"]) for row in rows] == [("families", "skipped"), ("qlora", "skipped")]


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="No section 'sfft'"):
        gpu.main(gpu.Benchmark(sections=("sfft",), out=tmp_path))


def test_scores_of_a_quickstart_are_read(tmp_path: Path) -> None:
    for name, value in (("sft", 0.85049), ("constant", 0.3)):
        folder = tmp_path / "eval" / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps({"set_f1": {"value": value}}))
    assert scores(tmp_path) == {"constant": 0.3, "sft": 0.8505}
