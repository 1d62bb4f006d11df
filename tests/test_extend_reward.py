"""docs/extend/reward_term.md, executed: its file is written, its YAML is loaded, and its numbers are paid."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from affectllm import rewards
from affectllm.errors import AffectError
from affectllm.records import Target

PAGE = (Path(__file__).parents[1] / "docs" / "extend" / "reward_term.md").read_text(encoding="utf-8")
GOLD = Target(labels=["happy"])


@pytest.fixture
def composition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's blocks, written to the files that their first lines name."""
    for block in re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    return tmp_path / "my_rewards.yaml"


def rows() -> list[tuple[str, float, float]]:
    """Completion, value of the new term and whole reward, as the page's table has them."""
    found = re.findall(r"^\| `(.*)` \| \S+ \| (\S+) \| (.*) \|$", PAGE, re.MULTILINE)
    made = []
    for text, term, reward in found:
        total = re.search(r"= ([\d.]+)$", reward)
        over, _, under = term.partition("/")
        made.append((text, int(over) / int(under or 1), float(total[1]) if total else 0.0))
    return made


def test_the_page_pays_what_its_table_says(composition: Path) -> None:
    functions = rewards.load(str(composition))
    assert [function.__name__ for function in functions] == ["wheel_f1", "few_labels"]
    texts = [text for text, *_ in rows()]
    assert len(texts) == 3
    paid = [function(completions=texts, target=[GOLD] * 3) for function in functions]
    assert paid[1] == pytest.approx([term for _, term, _ in rows()])
    totals = [first + 0.5 * second for first, second in zip(*paid, strict=True)]  # type: ignore[operator]
    assert totals == pytest.approx([total for *_, total in rows()], abs=5e-4)


def test_a_term_of_ones_own_multiplies_and_gates_too(composition: Path) -> None:
    text = composition.read_text().replace("gates: [format]", "times: [my_rewards:few_labels]", 1)
    composition.write_text(text)
    first = rewards.load(str(composition))[0]
    said = "<think>She smiles.</think><answer>happy, sad</answer>"
    logged: dict[str, list[float]] = {}
    assert first(completions=[said], target=[GOLD], log_extra=logged.__setitem__) == [pytest.approx(2 / 3 / 2)]
    assert logged["wheel_f1/my_rewards:few_labels"] == [0.5]


def test_a_module_that_python_does_not_find_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("source: me\nabout: x\nterms:\n  nowhere_at_all:term: {weight: 1}\n")
    with pytest.raises(AffectError, match="no module 'nowhere_at_all' in this folder"):
        rewards.load(str(tmp_path / "r.yaml"))
    with pytest.raises(AffectError, match="has no attribute 'nothing'"):
        rewards.load("json:nothing")
