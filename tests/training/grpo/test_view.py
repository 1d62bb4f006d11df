"""The page about a GRPO run stands alone, shows what was written, and warns of a policy that cheats."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from affectllm import jsonl
from affectllm.commands import cli
from affectllm.errors import AffectError
from affectllm.reports.grpo_view import correlation, curve, drift, extreme_groups, page
from affectllm.training.grpo.step_log import step_line

STEPS = 20


def write_run(folder: Path, hacked: bool) -> Path:
    """Twenty steps of two groups of two: a calm run, or one that is paid for more and more words."""
    log, said = [], []
    for step in range(1, STEPS + 1):
        grown = step / STEPS if hacked else 0.0
        logs = {
            "reward": 0.2 + grown / 2, "rewards/wheel_f1/mean": 0.2, "rewards/format/mean": 1.0, "step_time": 2.0,
            "seconds/generation": 1.0, "labels_per_answer": 2 + 4 * grown, "think_tokens": 30 - 25 * grown,
            "answer_tokens": 10.0, "entropy": 1.0, "frac_reward_zero_std": grown, "parse_rate": 1 - grown / 2,
            "constant_share": 0.25 + grown / 2,
        }  # fmt: skip
        log.append(step_line(step, logs))
        for i in range(4):
            text = "<script>alert(1)</script> happy" if grown > 0.5 else f"answer {step} {i}"
            labels = ["happy", "joyful", "glad"] if grown > 0.5 else ["sad"]
            said.append(
                {
                    "step": step, "id": f"clip{i // 2}", "clip": f"clip{i // 2}.mp4", "gold": ["sad"], "text": text,
                    "reward": 0.1 * i, "parts": {"wheel_f1": 0.1 * i, "clue_f1": None}, "labels": labels,
                    "status": "ok", "think_tokens": 10 * i, "answer_tokens": 5,
                }
            )  # fmt: skip
    jsonl.write(folder / "log.jsonl", log)
    jsonl.write(folder / "completions.jsonl", said)
    scores = [(0, 0.3, 0.2), (10, 0.3, 0.2), (20, 0.2 if hacked else 0.4, 0.2)]
    jsonl.write(folder / "dev.jsonl", [{"step": s, "set_f1": f, "clue_face": c} for s, f, c in scores])
    return folder


def text_of(html: str) -> str:
    words: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            words.append(data)

    Reader().feed(html)
    return " ".join(words)


def test_the_page_stands_alone_and_escapes_what_the_model_said(tmp_path: Path) -> None:
    html = page(write_run(tmp_path, hacked=True))
    assert not re.search(r"""(src|href)\s*=|https?://|@import|url\(""", html)
    assert "<script>" not in html
    assert html.count("<svg") == html.count("</svg>") > 10
    assert "clip1.mp4" in html
    assert "wheel_f1" in html


def test_a_cheating_policy_raises_its_alarms(tmp_path: Path) -> None:
    text = text_of(page(write_run(tmp_path, hacked=True)))
    for sign in (
        "Labels per answer rose", "answers that parse fell", "no difference in reward", "are the same text",
        "Reasoning shrank", "Longer completions are paid better", "reward rises while the held-out score falls",
    ):  # fmt: skip
        assert sign in text


def test_a_calm_run_raises_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path, hacked=False)
    rows = [{**row, "think_tokens": 10} for row in jsonl.read_dicts(folder / "completions.jsonl")]
    jsonl.write(folder / "completions.jsonl", rows)
    assert "No sign of reward hacking" in text_of(page(folder))


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, hacked=False)
    with pytest.raises(SystemExit) as end:
        cli.main(["grpo", "view", str(tmp_path)])
    assert not end.value.code
    assert (tmp_path / "grpo.html").read_text().startswith("<!doctype html>")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="folder of a GRPO run"):
        page(tmp_path)
    jsonl.write(tmp_path / "log.jsonl", [{"step": 1, "loss": 2.0}])
    with pytest.raises(AffectError, match="no step of GRPO"):
        page(tmp_path)


def test_a_curve_keeps_its_ends() -> None:
    chart = curve([{"step": 1, "x": 0.0}, {"step": 3, "x": 1.0}, {"step": 5, "x": None}], "x", "x", "")
    assert chart is not None
    assert (chart.low, chart.high, chart.first, chart.last, chart.now) == ("0", "1", "1", "3", "1")
    assert chart.path == "M40.0,96.0 L294.0,6.0"
    assert curve([{"step": 1}], "x", "x", "") is None


def test_drift_and_groups_by_hand() -> None:
    def row(step: int, name: str, reward: float, *labels: str) -> dict[str, Any]:
        return {"step": step, "id": name, "clip": "", "gold": [], "reward": reward, "labels": labels, "text": ""}

    said = [row(1, "a", 0.0, "sad"), row(2, "a", 0.0, "sad"), row(3, "b", 0.5, "sad"), row(4, "b", 1.0, "glad", "sad")]
    assert drift(said)[0] == ("glad", 0.0, 1.0)
    worst, best = extreme_groups(said * 4)
    assert [group.mean for group in worst] == [0.0, 0.0]
    assert [group.mean for group in best] == [1.0, 0.5]


def test_correlation_of_a_constant_is_nothing() -> None:
    assert correlation([(1.0, 2.0), (1.0, 3.0)]) == 0.0
