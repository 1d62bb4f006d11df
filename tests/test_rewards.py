"""Rewards pay for what is reported: honest answers rank above every trick."""

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from affectllm import jsonl, rewards, vocabulary
from affectllm.answers.lists import split_labels
from affectllm.commands import verbs
from affectllm.data.tables import read_table
from affectllm.errors import AffectError
from affectllm.records import Clues, Target
from affectllm.rewards import adapters, probes, terms
from affectllm.scores.families import wheels as wheel_scores

WHEELS = vocabulary.load()
GOLD = Target(labels=["happy", "surprised"], clues=Clues(visual=["a wide smile"], audio=["bright and lively"]))
HONEST = (
    "<think>The face shows a wide smile. The voice is bright and lively.</think>\n<answer>happy, surprised</answer>"
)
JUNK = ", ".join(["sad", "angry", "fearful", "disgusted", "bored"])


def total(text: str, gold: Target = GOLD, preset: str = "strict") -> float:
    """The weighted sum that TRL would make."""
    values = [(f.weight, f(completions=[text], target=[gold])[0]) for f in rewards.load(preset)]  # type: ignore[attr-defined]
    return sum(weight * value for weight, value in values if value is not None)


TRICKS = {
    "empty": "",
    "untagged list": "happy, surprised",
    "answer inside think": "<think>happy, surprised</think>",
    "nested tags": "<think><answer>happy, surprised</answer></think><answer>happy, surprised</answer>",
    "two answers": "<think>A smile.</think><answer>happy</answer><answer>surprised</answer>",
    "gold and junk": f"<think>A wide smile.</think><answer>happy, surprised, {JUNK}</answer>",
    "every word": f"<think>x</think><answer>happy, surprised, neutral, {JUNK}</answer>",
    "unknown words": "<think>A wide smile.</think><answer>blorp, snarf</answer>",
    "another clip": "<think>The voice is slow and quiet.</think><answer>sad</answer>",
    "denied": "<think>A wide smile.</think><answer>not happy</answer>",
    "prompt echo": "Which emotions does the person show? " + HONEST,
}


@pytest.mark.parametrize("trick", TRICKS)
def test_honest_answers_beat_tricks(trick: str) -> None:
    assert total(HONEST) > total(TRICKS[trick]) + 0.2


@pytest.mark.parametrize(
    "honest",
    [
        HONEST,
        HONEST.replace("happy, surprised", "surprised, happy"),
        HONEST.replace("happy, surprised", "surprised, joyful"),
        HONEST.replace("happy, surprised", "happiness, astonished"),
        HONEST.replace("happy, surprised", "高兴，惊讶"),
        HONEST.replace("happy, surprised", "Happy; surprised"),
        HONEST.replace("wide smile", "broad smile"),
        HONEST.replace("The face shows a wide smile", "She smiles a wide smile"),
    ],
)
def test_honest_variants_lose_no_more_than_the_score_says(honest: str) -> None:
    words = terms.read(honest).labels
    lost = 1 - wheel_scores.f1(words, GOLD.labels, WHEELS)
    lost += 0.4 * (1 - (terms.clue_coverage(honest, GOLD, WHEELS) or 0.0))
    assert total(honest) == pytest.approx(total(HONEST) - lost)
    assert lost < 0.3


def test_the_accuracy_term_is_the_reported_score() -> None:
    for said in (["happy"], ["happy", "sad"], ["joyful", "astonished"], []):
        text = f"<think>x</think><answer>{', '.join(said)}</answer>"
        assert terms.wheel_f1(text, GOLD, WHEELS) == pytest.approx(wheel_scores.f1(said, GOLD.labels, WHEELS))


@pytest.mark.parametrize(
    ("said", "gold", "p1", "p2", "p3"),
    [
        (2, 2, 1, 1, 1),
        (1, 2, 1, 1, 1),
        (3, 2, 1 / 2, 2 / 3, math.log(2) / math.log(3)),
        (3, 1, 1 / 3, 1 / 3, math.log(2) / math.log(4)),
    ],
)
def test_label_count_penalties_by_hand(said: int, gold: int, p1: float, p2: float, p3: float) -> None:
    words = ["happy", "sad", "angry"]
    text, target = ", ".join(words[:said]), Target(labels=words[:gold])
    found = [term(text, target, WHEELS) for term in (terms.label_count_1, terms.label_count_2, terms.label_count_3)]
    assert found == pytest.approx([p1, p2, p3])


def test_more_labels_than_gold_are_never_paid_more() -> None:
    words = ["happy", "surprised", "sad", "angry", "fearful", "disgusted"]
    values = [total(f"<think>A wide smile.</think><answer>{', '.join(words[:n])}</answer>") for n in range(2, 7)]
    assert all(a > b for a, b in pairwise(values))


def test_terms_that_do_not_apply_give_none() -> None:
    assert terms.wheel_f1("happy", Target(), WHEELS) is None
    assert terms.clue_f1("happy", Target(labels=["happy"]), WHEELS) is None
    (value,) = rewards.load("strict")[1](completions=[HONEST], target=[Target(labels=["happy"])])
    assert value is None


def test_completions_may_be_chats_and_gold_may_be_json() -> None:
    reward = rewards.load("strict")[0]
    chat = [[{"role": "assistant", "content": HONEST}]]
    assert reward(completions=chat, target=[jsonl.dumps(GOLD)]) == [1.0]
    assert reward(completions=chat, target=[msgspec.to_builtins(GOLD)]) == [1.0]
    with pytest.raises(AffectError, match="needs the column 'target'"):
        reward(completions=chat, openset=["happy"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: me\nabout: x\nterms: {wheel_f1: {weight: -1}}\n", "weight"),
        ("source: me\nabout: x\nterms: {wheel_f1: {weight: 1, time: [hit]}}\n", "time"),
        ("source: me\nabout: x\nterms: {}\n", "terms"),
        ("source: me\nabout: x\nprotocol: mer2025\nterms: {hit: {weight: 1}}\n", "--assets|assets"),
    ],
)
def test_wrong_compositions_stop_before_training(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(AffectError, match=message):
        rewards.load(str(tmp_path / "r.yaml"))


def test_every_preset_loads_and_names_its_source() -> None:
    for name, preset in rewards.presets().items():
        assert preset["source"]
        assert rewards.load(name)
    with pytest.raises(AffectError, match="Presets: strict"):
        rewards.load("strikt")


def test_the_default_preset_ranks_the_honest_answer_first() -> None:
    rows = probes.probe(rewards.load("strict"), probes.gold_sets(seed=11, sets=3))
    assert {len(row.gold) for row in rows} == set(range(1, 10))
    assert probes.beaten(rows) == []
    honest = {tuple(row.gold): row.reward for row in rows if row.kind == "honest"}
    assert all(row.reward == pytest.approx(honest[tuple(row.gold)]) for row in rows if probes.is_honest(row.kind))


def test_real_label_sets_too(shared_data: Path) -> None:
    table = read_table(shared_data / "ovmerd" / "check-openset.head25.csv", ("name", "openset"))
    golds = [Target(labels=split_labels(row.values["openset"])) for row in table]
    assert probes.beaten(probes.probe(rewards.load("strict"), golds)) == []


def test_the_probe_shows_where_a_published_recipe_falls() -> None:
    lost = {row.kind for row in probes.beaten(probes.probe(rewards.load("affectgpt-r1"), probes.gold_sets()))}
    assert "labels repeated" in lost


@pytest.mark.parametrize("words", [["probe", "--preset", "strict", "--json"], ["list", "--json"]])
def test_the_command_prints_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.run("rewards", words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"gold", "kind", "completion", "reward", "parts"} <= rows[0].keys() or {"presets", "terms"} <= rows[0].keys()


@pytest.mark.parametrize("term", ["wheel_f1", "clue_coverage", "format"])
def test_each_term_alone_moves_the_advantage(term: str) -> None:
    """A group whose members differ in what one term reads gets advantages that are not all zero, and vice versa."""
    reward = next(f for f in rewards.load("strict") if f.__name__ == term)
    group = [HONEST, TRICKS["untagged list"], TRICKS["another clip"]]
    values = reward(completions=group, target=[GOLD] * 3)
    assert len(set(values)) > 1
    assert len(set(reward(completions=[HONEST] * 3, target=[GOLD] * 3))) == 1


@pytest.mark.parametrize(
    ("term", "text", "gold", "value"),
    [
        ("basic", "<answer>anger</answer>", Target(basic="anger"), 1.0),
        ("basic", "angry", Target(basic="anger"), 1.0),
        ("basic", "anger, joy", Target(basic="anger"), 0.0),
        ("basic", "anger", Target(), None),
        ("choice", "The answer is D", Target(basic="d"), 1.0),
        ("sentiment", "positive", Target(sentiment="positive"), 1.0),
        ("sentiment", "negative", Target(sentiment="positive"), 0.0),
        ("valence", "<answer>-0.5</answer>", Target(valence=0.5), 0.5),
        ("valence", "between -1 and 1", Target(valence=0.5), 0.0),
        ("valence", "7", Target(valence=0.5), 0.0),
        ("preference", "a2", Target(preference="a2"), 1.0),
        ("first", "sad, happy", Target(labels=["happy", "sad"]), 0.5),
        ("first", "happy", Target(labels=["happy", "sad"]), 1.0),
        ("unknown_not_wrong", "happy, grateful", Target(labels=["happy"]), 1.0),
        ("unknown_not_wrong", "happy, angry", Target(labels=["happy"]), 2 / 3),
        ("confidence", '{"labels": ["happy"], "confidence": 0.9}', Target(labels=["happy"]), 1 - 0.1**2),
        ("confidence", '{"labels": ["sad"], "confidence": 1.0}', Target(labels=["happy"]), 0.0),
        ("confidence", "happy", Target(labels=["happy"]), 0.0),
        ("answer_length", "<think>x</think><answer>" + "so " * 36 + "</answer>", Target(), 0.5),
        ("repetition", "one two three one two three", Target(), 0.75),
    ],
)
def test_terms_by_hand(term: str, text: str, gold: Target, value: float | None) -> None:
    found = terms.TERMS[term](text, gold, WHEELS)
    assert found == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize("term", terms.TERMS)
@pytest.mark.parametrize("text", [*TRICKS.values(), HONEST])
def test_every_term_keeps_its_range(term: str, text: str) -> None:
    gold = Target(labels=["happy"], basic="joy", sentiment="positive", valence=0.1, preference="a1", clues=GOLD.clues)
    value = terms.TERMS[term](text, gold, WHEELS)
    assert value is None or 0 <= value <= 1


@pytest.mark.parametrize("preset", rewards.presets())
def test_every_term_alone_changes_the_normalised_advantage(preset: str) -> None:
    """Zero where all members are alike, and moved by the term where they differ in what it reads."""
    gold = msgspec.structs.replace(GOLD, basic="happy")
    group = [HONEST, HONEST.replace("happy, surprised", "happy"), TRICKS["another clip"], "sad", "happy"]
    for function in rewards.load(preset):
        values = function(completions=group, target=[gold] * len(group))
        assert max(map(abs, advantages(values))) > 0, function.__name__
        alike = function(completions=[group[0]] * 5, target=[gold] * 5)
        assert advantages(alike) == [0.0] * 5


def advantages(values: list[float | None]) -> list[float]:
    """As TRL normalises a group."""
    known = [0.0 if value is None else value for value in values]
    mean = sum(known) / len(known)
    spread = math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return [(value - mean) / (spread + 1e-4) for value in known]


def test_a_term_of_weight_zero_changes_nothing(tmp_path: Path) -> None:
    lines = "source: me\nabout: x\nterms:\n  wheel_f1: {weight: 1}\n"
    (tmp_path / "one.yaml").write_text(lines)
    (tmp_path / "two.yaml").write_text(lines + "  hit: {weight: 0}\n")
    golds = probes.gold_sets()
    one, two = (
        [row.reward for row in probes.probe(rewards.load(str(tmp_path / f)), golds)] for f in ("one.yaml", "two.yaml")
    )
    assert one == two
    assert len(rewards.load(str(tmp_path / "two.yaml"))) == 1


def test_each_completion_is_logged_with_its_parts() -> None:
    found: dict[str, list[object]] = {}
    for reward in rewards.load("strict"):
        reward(completions=[HONEST, TRICKS["denied"]], target=[GOLD] * 2, log_extra=found.__setitem__)
    assert found["labels"] == ["happy, surprised", ""]
    assert found["status"] == ["ok", "failed"]
    assert found["wheel_f1/think_length"] == [1.0, 1.0]
    assert found["wheel_f1/parsed"] == [1.0, 0.0]


@pytest.mark.parametrize("target", ["happy", '{"emotions": ["happy"]}', 7, {"labels": "happy"}])
def test_gold_of_the_wrong_type_is_shown(target: object) -> None:
    with pytest.raises(AffectError, match="Column 'target' holds"):
        rewards.load("strict")[0](completions=[HONEST], target=[target])


def test_long_completions_fall_as_in_dapo(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "source: me\nabout: x\noverlong: {longest: 20, soft: 10}\nterms:\n  overlong: {weight: 1}\n"
    )
    (reward,) = rewards.load(str(tmp_path / "r.yaml"))
    ids = [[1] * n for n in (5, 10, 15, 20, 30)]
    assert reward(completions=[HONEST] * 5, target=[GOLD] * 5, completion_ids=ids) == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_the_outer_ring_is_stricter(tmp_path: Path) -> None:
    text = "source: me\nabout: x\nlevel: level2\nterms:\n  wheel_f1: {weight: 1}\n"
    (tmp_path / "r.yaml").write_text(text)
    (outer,) = rewards.load(str(tmp_path / "r.yaml"))
    said = ["furious", "annoyed", "grateful"]
    (value,) = outer(completions=[", ".join(said)], target=[Target(labels=["angry", "proud"])])
    assert value == pytest.approx(wheel_scores.f1(said, ["angry", "proud"], WHEELS, "level2"))
    assert value < wheel_scores.f1(said, ["angry", "proud"], WHEELS)


def test_a_curriculum_pays_terms_by_step(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "source: me\nabout: x\nterms:\n  format: {weight: 1, until_step: 5}\n  wheel_f1: {weight: 1, from_step: 5}\n"
    )
    early, late = rewards.load(str(tmp_path / "r.yaml"))
    for step, paid in ((4, [1.0, None]), (5, [None, 1.0])):
        state = SimpleNamespace(global_step=step)
        assert [f(completions=[HONEST], target=[GOLD], trainer_state=state)[0] for f in (early, late)] == paid


def test_other_trainers_get_the_same_number() -> None:
    gold = jsonl.dumps(GOLD)
    expected = total(HONEST)
    assert adapters.swift_reward()()([HONEST], [gold]) == [pytest.approx(expected)]
    assert adapters.verl_score("toy", HONEST, gold) == pytest.approx(expected)
    (row,) = adapters.easyr1_score([{"response": HONEST, "ground_truth": gold}])
    assert row["overall"] == pytest.approx(expected)
    assert row["format"] == 1.0


@pytest.mark.parametrize("trick", [kind for kind in probes.completions(GOLD) if not probes.is_honest(kind)])
def test_a_policy_that_begins_with_a_trick_leaves_it(trick: str) -> None:
    """200 steps of GRPO in expectation, over a policy that says one trick 95 times of 100 and the rest evenly.

    The policy is a table (one of the probe's completions) and the group is infinite, so the step is exact: every
    completion's log share grows by its advantage. Where that leads is a property of the rewards alone.
    """
    said = probes.completions(GOLD)
    paid = np.array([total(text) for text in said.values()])
    logits = np.where([kind == trick for kind in said], math.log(0.95 / 0.05 * (len(said) - 1)), 0.0)
    for _ in range(200):
        share = np.exp(logits - logits.max())
        share /= share.sum()
        advantage = paid - share @ paid
        advantage /= math.sqrt(share @ advantage**2) + 1e-4
        logits += 0.2 * advantage
    honest = [probes.is_honest(kind) for kind in said]
    assert share[honest].sum() > 0.95
    assert share[list(said).index(trick)] < 0.01
