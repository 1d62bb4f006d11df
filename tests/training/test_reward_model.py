"""A reward model from preferences: the clip reaches it, it learns what fits, and it chooses between two texts."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.prompts import compose
from affectllm.records import Annotation, Answer, Clip, Conversation, Meta, Target
from affectllm.training.reward_model import fit_question, fit_scores
from eval.prefer import Prefer
from eval.prefer import main as prefer
from tests.clips import write_clip
from tests.tiny_models import save_tiny_omni
from train.reward import Reward
from train.reward import main as reward

TEXTS = ("He smiles.", "He cries.")


def pair(name: str, preference: Any, choices: tuple[str, str], **more: Any) -> Conversation:
    row = Annotation(
        id=name, dataset="emoprefer", split="train", media=Clip(video=f"{name.removesuffix('_swap')}.mp4"),
        target=Target(preference=preference, options=dict(zip(("a1", "a2"), choices, strict=True))),
        meta=Meta(licence="CC0-1.0"), **{"language": "en", **more},
    )  # fmt: skip
    return compose(row, task="preference", mode="labels", seed=7, choices=choices)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reward")
    rows = []
    for i in range(2):
        write_clip(made / f"clip{i}.mp4", seed=i)
        rows += [pair(f"clip{i}", "a1", TEXTS), pair(f"clip{i}_swap", "a2", TEXTS[::-1])]
    jsonl.write(made / "pairs.jsonl", rows)
    save_tiny_omni(made / "model")
    return made


def scores_of(folder: Path, model: Path, clip: str = "clip0.mp4") -> list[float]:
    backbone = load(str(model), dtype="float32")
    backbone.model.eval()
    store = MediaStore(backbone, folder, FeatureCache(folder / "cache"))
    asked = msgspec.structs.replace(pair("clip0", "a1", TEXTS), media=Clip(video=clip))
    return fit_scores(store, [fit_question(asked, name) for name in ("a1", "a2")])


def test_the_question_holds_one_description_and_the_clip() -> None:
    question = fit_question(pair("clip0", "a1", TEXTS), "a2")
    content = question.messages[0].content
    assert not isinstance(content, str)
    assert [part.type for part in content] == ["video", "audio", "text"]
    assert content[-1].text == "Does this description fit the person? He cries.\nAnswer yes or no."
    assert len(question.messages) == 1
    chinese = fit_question(pair("clip0", "a1", ("他笑。", "他哭。"), language="zh"), "a1")
    assert chinese.messages[0].content[-1].text == "这段描述符合人物吗？他笑。\n请回答是或否。"  # type: ignore[union-attr]
    bare = msgspec.structs.replace(pair("clip0", "a1", TEXTS), target=Target(preference="a1"))
    with pytest.raises(AffectError, match="build emoprefer"):
        fit_question(bare, "a1")


def test_scores_depend_on_the_clip_and_not_on_their_neighbours(folder: Path) -> None:
    one, other = (scores_of(folder, folder / "model", clip) for clip in ("clip0.mp4", "clip1.mp4"))
    assert (torch.tensor(one) - torch.tensor(other)).abs().min() > 1e-6
    backbone = load(str(folder / "model"), dtype="float32")
    store = MediaStore(backbone, folder, FeatureCache(folder / "cache"))
    longer = fit_question(pair("clip0", "a1", ("He smiles, and then he smiles again for a long while.", "No.")), "a1")
    alone = fit_scores(store, [fit_question(pair("clip0", "a1", TEXTS), "a1")])
    padded = fit_scores(store, [fit_question(pair("clip0", "a1", TEXTS), "a1"), longer])
    assert padded[0] == pytest.approx(alone[0], abs=1e-5)


def test_it_learns_which_description_fits_and_chooses_it(folder: Path, tmp_path: Path) -> None:
    run = grouped(
        Reward, model=str(folder / "model"), data=folder / "pairs.jsonl", out=tmp_path / "run", steps=12, batch=4,
        rate=1e-2, rank=4, dtype="float32",
    )  # fmt: skip
    before = scores_of(folder, folder / "model")
    reward(run)
    after = scores_of(folder, tmp_path / "run")
    assert after[0] - after[1] > max(1.0, before[0] - before[1])
    log = [row for row in jsonl.read_dicts(tmp_path / "run" / "log.jsonl") if "accuracy" in row]
    assert log[-1]["accuracy"] == 1.0
    chosen = Prefer(
        data=folder / "pairs.jsonl", out=tmp_path / "said", model=str(tmp_path / "run"), split="train", dtype="float32"
    )
    prefer(chosen)
    said = {row.id: row.text for row in jsonl.read(tmp_path / "said" / "answers.jsonl", Answer)}
    assert said == {"clip0": "a1", "clip0_swap": "a2", "clip1": "a1", "clip1_swap": "a2"}
    (folder / "clip1.mp4").rename(folder / "away.mp4")
    prefer(Prefer(**{**vars(chosen), "out": tmp_path / "again"}))
    (folder / "away.mp4").rename(folder / "clip1.mp4")
    again = {row.id: row for row in jsonl.read(tmp_path / "again" / "answers.jsonl", Answer)}
    assert (again["clip1"].text, again["clip0"].text) == ("", "a1")
    assert "clip1.mp4" in str(again["clip1"].error)
