"""The whole way, once, on a few clips: every stage runs, leaves its files, and is not run again."""

import json
from pathlib import Path

import pytest

from affectllm.explain import load
from demo.quickstart import Quickstart, main


@pytest.mark.timeout(900)
def test_clips_to_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    main(Quickstart(out=out, mini=True))
    results = json.loads((out / "report.json").read_text())
    assert list(results) == ["constant", "untrained", "text_only", "sft", "grpo"]
    for row in results.values():
        f1 = row["set_f1"]
        assert 0 <= f1["low"] <= f1["value"] <= f1["high"] <= 1
        assert f1["n"] == 8
        assert {"clue_face", "clue_voice", "parse_failures", "labels_per_clip"} <= row.keys()
    assert "the pipeline works" in (out / "report.html").read_text()
    first = [json.loads(line) for line in (out / "sft" / "log.jsonl").read_text().splitlines() if "loss" in line]
    assert all(step["loss"] < 10 for step in first if "loss" in step)

    # The same command again finds everything done.
    capfd.readouterr()
    main(Quickstart(out=out, mini=True))
    again = capfd.readouterr().out
    assert again.count("is finished already") == 3
    assert again.count("answers already") == 4
    assert json.loads((out / "report.json").read_text()) == results

    clip = sorted((out / "data" / "clips").glob("test_*.mp4"))[0]
    found = load(str(out / "grpo")).explain(clip, subtitle="Hello.")
    assert found.answer
    assert found.evidence["face"].influence is not None
