"""The metric of docs/extend/metric.md, run as the page says; its number is the sum done by hand there."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from affectllm.commands.cli import main
from affectllm.scores import registry

PAGE = Path(__file__).parents[1] / "docs" / "extend" / "metric.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S)


def test_the_page_is_followed_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,), (line,), (gold, said) = blocks("python"), blocks("sh"), blocks("json")
    for name, text in {"mymetric.py": source, "gold.jsonl": gold, "said.jsonl": said}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        with pytest.raises(SystemExit) as left:
            main([*shlex.split(line)[1:], "--json"])
    finally:
        sys.modules.pop("mymetric", None)
    printed = capsys.readouterr()
    assert left.value.code in (0, None), printed.err
    found = json.loads(printed.out)
    by_hand = (abs(3 - 2) + abs(0 - 0) + abs(4 - 1)) / 3
    assert (found["metric"], found["n"]) == ("laughs_mae", 3)
    assert found["value"] == pytest.approx(by_hand)
    assert f"= {by_hand:.4f}" in PAGE.read_text("utf-8")
    # As a file of the families it would be found without any other list.
    assert registry.scan(source)["laughs_mae"].fields == ("laughs",)
    # Always 1 misses gold 2, 0 and 1 by 1, 1 and 0.
    assert found["constant_baseline"] == {"labels": ["always 1"], "value": pytest.approx(2 / 3)}
    assert found["low"] <= found["value"] <= found["high"]
