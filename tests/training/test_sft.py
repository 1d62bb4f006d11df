"""What SFT learns from: which tokens, how much each counts, from which data sets, and without reading a clip twice."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.backbone import Backbone
from affectllm.models.store import MediaStore
from affectllm.records import Conversation, Message
from affectllm.training.collator import IGNORED, ROW, WEIGHTS, ConversationCollator, Weights
from tests.clips import conversation, write_clip, write_toy_data
from tests.tiny_models import TINY, families, save_tiny_affect, save_tiny_omni
from train.sft import SFT, main

ADAPTER = "adapter_model.safetensors"
FAMILIES = {"affect": save_tiny_affect, "omni": save_tiny_omni}


@pytest.fixture(scope="module", params=families("AffectLLM", "Qwen2.5-Omni Thinker"))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MediaStore:
    folder = tmp_path_factory.mktemp("family")
    write_toy_data(folder)
    backbone = load(str(TINY[request.param](folder / "model")), dtype="float32")
    backbone.model.requires_grad_(False).eval()
    return MediaStore(backbone, folder, FeatureCache(folder / "cache"), backbone.modalities)


def rows_of(store: MediaStore) -> list[Conversation]:
    rows = jsonl.read(store.root / "conversations.jsonl", Conversation)
    return [conversation(row.id, row.target.labels, parts=store.backbone.modalities) for row in rows]


def collate(store: MediaStore, *rows: Conversation, **options: Any) -> dict[str, torch.Tensor]:
    return ConversationCollator(store, **options)([{"conversation": jsonl.dumps(row)} for row in rows])


def dialogue(store: MediaStore) -> Conversation:
    """Two questions about one clip, each answered."""
    row = rows_of(store)[0]
    more = [Message(role="user", content="Why?"), Message(role="assistant", content="Because of the smile.")]
    return msgspec.structs.replace(row, messages=[*row.messages, *more])


def test_every_assistant_turn_is_learned_and_nothing_else(store: MediaStore) -> None:
    row = dialogue(store)
    batch = collate(store, row)
    kept = batch["labels"][0] != IGNORED
    end = store.backbone.tokenizer.eos_token
    said = [message.content for message in row.messages if message.role == "assistant"]
    assert store.backbone.tokenizer.decode(batch["input_ids"][0][kept]) == "".join(f"{text}{end}" for text in said)
    assert batch["labels"][0][kept].equal(batch["input_ids"][0][kept])


def test_turns_are_the_chat_template_s_own_text(store: MediaStore) -> None:
    row = dialogue(store)
    ids = collate(store, row)["input_ids"][0]
    backbone = store.backbone
    messages = [
        {"role": m.role, "content": [{"type": "text", "text": m.content}] if isinstance(m.content, str) else
         [{"type": p.type, **({"text": p.text} if p.text else {})} for p in m.content]} for m in row.messages
    ]  # fmt: skip
    text = backbone.processor.apply_chat_template(messages, tokenize=False)
    whole = backbone.expand(text, store.media(row.media, store.modalities))
    # The template ends the last turn with a line break, which no answer is followed by.
    assert whole[: len(ids)] == ids.tolist()
    assert backbone.tokenizer.decode(whole[len(ids) :]).strip() == ""


def test_earlier_answers_are_part_of_the_question(store: MediaStore) -> None:
    """Generation meets the prompt that training taught."""
    row = dialogue(store)
    prompt = store.sample(row).prompt_ids
    ids = collate(store, row)["input_ids"][0].tolist()
    assert ids[: len(prompt)] == prompt
    assert len(ids) - len(prompt) == len(store.backbone.answer_ids("Because of the smile."))


def test_a_conversation_without_an_answer_is_no_lesson(store: MediaStore) -> None:
    row = rows_of(store)[0]
    with pytest.raises(AffectError, match="no assistant turn"):
        collate(store, msgspec.structs.replace(row, messages=row.messages[:1]))


def test_weights_stand_on_the_tokens_they_are_meant_for(store: MediaStore) -> None:
    batch = collate(store, rows_of(store)[2], weights=Weights(think=0.25, answer=2.0))
    tokenizer = store.backbone.tokenizer
    by_weight = {weight: tokenizer.decode(batch["input_ids"][0][batch[WEIGHTS][0] == weight]) for weight in (0.25, 2.0)}
    assert by_weight[0.25] == "<think>The face shows angry. The voice is sad.</think>"
    assert by_weight[2.0] == "\n<answer>angry, sad</answer><|im_end|>"
    assert ((batch[WEIGHTS] == 0) == (batch["labels"] == IGNORED)).all()


def test_lengths_are_told_without_decoding(store: MediaStore) -> None:
    rows = [dialogue(store), *rows_of(store)[1:]]
    before = store.reads
    told = store.lengths(rows)
    assert store.reads == before
    exact = [len(collate(store, row)["input_ids"][0]) for row in rows]
    # Marks of turns and times are left out; they are about the same for like conversations.
    left_out = [right - about for right, about in zip(exact, told, strict=True)]
    assert min(left_out) >= 0
    assert max(left_out) - min(left_out) <= 60


@pytest.mark.parametrize("family", ["Qwen2.5-Omni Thinker", pytest.param("Qwen3-VL", marks=pytest.mark.slow)])
def test_larger_and_longer_clips_are_told_apart(family: str, tmp_path: Path) -> None:
    for i, (size, seconds) in enumerate([(64, 1.0), (320, 1.0), (320, 9.0), (640, 4.0)]):
        write_clip(tmp_path / f"clip{i}.mp4", seconds=seconds, size=size)
    backbone = load(str(TINY[family](tmp_path / "model")), "float32")
    backbone.processor.videos_kwargs = {"size": {"shortest_edge": 8 * 32 * 32, "longest_edge": 8 * 256 * 256}}
    fresh = MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache"), backbone.modalities)
    rows = [conversation(f"clip{i}", ["happy"], parts=backbone.modalities) for i in range(4)]
    whole, cut = rows[2], msgspec.structs.replace(rows[2], media=msgspec.structs.replace(rows[2].media, end_s=2.0))
    exact = [len(fresh.sample(row).prompt_ids) for row in [*rows, cut]]
    told = fresh.lengths([*rows, cut])
    base = exact[0] - told[0]
    assert all(abs(right - about - base) <= 0.15 * right for right, about in zip(exact, told, strict=True))
    assert "audio" not in backbone.modalities or fresh.lengths([whole]) > fresh.lengths([cut])


@contextmanager
def counted(backbone: Backbone) -> Iterator[list[int]]:
    """Counts calls of the encoders, wherever they are made."""
    body = backbone.core.model
    names = ("visual", "audio_tower", "vision_tower", "face_encoder", "voice_encoder")
    calls = [0]

    def count(module: nn.Module, args: Any, kwargs: Any) -> None:
        calls[0] += 1

    handles = [
        getattr(body, name).register_forward_pre_hook(count, with_kwargs=True) for name in names if hasattr(body, name)
    ]
    yield calls
    for handle in handles:
        handle.remove()


# The language model takes more of these encoders than tokens at placeholders.
IN_FORWARD = ("Gemma4Backbone", "Qwen3OmniBackbone")


def test_behind_frozen_encoders_the_loss_is_the_same(store: MediaStore) -> None:
    rows = rows_of(store)
    plain = MediaStore(store.backbone, store.root, store.cache, store.modalities)
    plain.__dict__["encodes"] = False
    for some in (rows[:1], rows[:3]):
        with torch.no_grad():
            one = store.backbone.model(**collate(store, *some)).loss
            other = store.backbone.model(**collate(plain, *some)).loss
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_second_epoch_neither_decodes_nor_encodes(store: MediaStore, tmp_path: Path) -> None:
    fresh = MediaStore(store.backbone, store.root, FeatureCache(tmp_path), store.modalities)
    rows = rows_of(store)
    with counted(store.backbone) as calls:
        for epoch in range(3):
            for row in rows:
                store.backbone.model(**collate(fresh, row))
            if epoch == 0:
                first = calls[0]
        in_forward = type(store.backbone).__name__ in IN_FORWARD
        assert calls[0] == (3 * first if in_forward else first)
        assert fresh.reads == len(rows)
        # A run later finds them on the disk.
        later = MediaStore(store.backbone, store.root, FeatureCache(tmp_path), store.modalities)
        for row in rows:
            collate(later, row)
        assert later.reads == later.encodings == 0


def test_an_encoder_that_learns_stays_in_the_forward(tmp_path: Path) -> None:
    write_toy_data(tmp_path, count=1)
    backbone = load(str(save_tiny_omni(tmp_path / "model")), "float32")
    backbone.core.model.requires_grad_(False)
    backbone.core.model.visual.merger.requires_grad_(True)
    fresh = MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache"))
    assert "pixel_values_videos" in collate(fresh, conversation("clip0", ["happy"]))


def test_other_encoder_weights_are_another_entry(tmp_path: Path) -> None:
    write_toy_data(tmp_path, count=1)
    row = conversation("clip0", ["happy"])
    cache = FeatureCache(tmp_path / "cache")
    for seed in (0, 1, 0):
        backbone = load(str(save_tiny_omni(tmp_path / f"model{seed}", seed)), "float32")
        backbone.model.requires_grad_(False)
        fresh = MediaStore(backbone, tmp_path, cache)
        found = collate(fresh, row)["video_tokens"]
        if seed == 0:
            first = found
        assert found.equal(first) == (seed == 0)
    assert fresh.encodings == 0


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectllm.models import store as stores

    write_toy_data(tmp_path)
    backbone = load(str(save_tiny_affect(tmp_path / "model")), "float32")
    fresh = MediaStore(backbone, tmp_path, FeatureCache(tmp_path / "cache"))
    rows = [conversation(f"clip{i}", ["happy"]) for i in range(4)]
    fresh.sample(rows[0])
    monkeypatch.setattr(stores, "MEMORY_BYTES", 2 * fresh._bytes)
    for row in rows * 2:
        fresh.sample(row)
    assert len(fresh._media) == 2
    assert fresh._bytes <= stores.MEMORY_BYTES
    assert fresh.reads == 4


# Whole runs.


@pytest.fixture(scope="module", params=["affect", pytest.param("omni", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    data = write_toy_data(made)
    rows = list(jsonl.read(data, Conversation))
    jsonl.write(data, [*rows, *(msgspec.structs.replace(row, id=f"dev_{row.id}", split="dev") for row in rows[:2])])
    FAMILIES[request.param](made / "model")
    return made


def options(folder: Path, out: Path, **more: Any) -> SFT:
    defaults = {
        "model": str(folder / "model"), "data": folder / "conversations.jsonl", "out": out, "steps": 4, "batch": 2,
        "dtype": "float32", "rate": 1e-2,
    }  # fmt: skip
    return SFT(**{**defaults, **more})


def lines(path: Path) -> list[dict[str, Any]]:
    return list(jsonl.read_dicts(path))


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in lines(out / "log.jsonl") if "loss" in line]


def test_weights_of_the_loss_do_what_they_say(folder: Path, tmp_path: Path) -> None:
    """The mean over tokens, weighted: scaling both weights changes nothing, and one of 0 leaves its tokens out."""
    first = {}
    for name, weights in {"plain": (1, 1), "scaled": (3, 3), "answer": (0, 1), "think": (1, 0)}.items():
        run = options(folder, tmp_path / name, steps=1, batch=4, think_weight=weights[0], answer_weight=weights[1])
        main(run)
        first[name] = losses(run.out)[0]
    assert first["scaled"] == pytest.approx(first["plain"], rel=1e-5)
    assert first["answer"] != pytest.approx(first["think"], rel=1e-3)
    assert min(first["answer"], first["think"]) < first["plain"] < max(first["answer"], first["think"])


def test_data_sets_are_mixed_by_weight(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_clip(other / "rare.mp4", seed=9)
    jsonl.write(other / "conversations.jsonl", [conversation("rare", ["proud"])])
    run = options(folder, tmp_path / "out", also=(other / "conversations.jsonl",), mix=(1.0, 3.0), batch=1, steps=5)
    main(run)
    assert len(losses(run.out)) == 5
    record = json.loads((run.out / "run.json").read_text())
    assert record["options"]["mix"] == [1.0, 3.0]
    with pytest.raises(AffectError, match="2 data sets"):
        main(options(folder, tmp_path / "wrong", also=run.also, mix=(1.0,)))


def test_a_cache_too_small_is_announced(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(options(folder, tmp_path / "small", steps=1, cache_gib=1e-6))
    assert "Raise --cache-gib" in capsys.readouterr().err
    main(options(folder, tmp_path / "large", steps=1))
    assert "--cache-gib" not in capsys.readouterr().err


def test_a_config_names_data_sets_and_their_shares(tmp_path: Path) -> None:
    from affectllm.options import parse

    (tmp_path / "c.yaml").write_text(
        "also: [b.jsonl, c.jsonl]\nmix: [2, 1, 0.5]\nthink_weight: 0.5\nby_length: false\n"
    )
    run = parse(SFT, ["--config", str(tmp_path / "c.yaml"), "--data", "a.jsonl", "--out", "o"])
    assert (run.also, run.mix) == ((Path("b.jsonl"), Path("c.jsonl")), (2.0, 1.0, 0.5))
    assert (run.think_weight, run.by_length) == (0.5, False)


def test_padding_is_logged(folder: Path, tmp_path: Path) -> None:
    run = options(folder, tmp_path / "out", steps=2)
    main(run)
    assert all(0 <= line["padding"] < 0.2 for line in lines(run.out / "log.jsonl") if "loss" in line)


def test_rows_keep_their_number_in_a_batch(store: MediaStore) -> None:
    rows = [{"conversation": jsonl.dumps(row), "row": i} for i, row in enumerate(rows_of(store))]
    assert ConversationCollator(store)(rows[2:])[ROW].tolist() == [2, 3]


def test_dev_scores_keep_the_best_and_the_last(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectllm.training import dev

    scores = iter([0.1, 0.5, 0.3])
    whole = dev.score

    def score(*args: Any) -> dict[str, Any]:
        return {**whole(*args), "set_f1": next(scores)}

    monkeypatch.setattr(dev, "score", score)
    run = options(folder, tmp_path / "out", dev_every=2, dev_new_tokens=4)
    main(run)
    rows = lines(run.out / "dev.jsonl")
    assert [(row["step"], row["set_f1"]) for row in rows] == [(0, 0.1), (2, 0.5), (4, 0.3)]
    assert {"clue_face", "clue_voice", "parse_rate", "n"} <= rows[0].keys()
    written, best, last = (load_file(run.out / place / ADAPTER) for place in ("", "best", "last"))
    assert all(written[name].equal(best[name]) for name in written)
    assert any(not last[name].equal(best[name]) for name in written)


def test_a_run_without_a_better_score_ends(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectllm.training import dev

    whole = dev.score
    monkeypatch.setattr(dev, "score", lambda *args: {**whole(*args), "set_f1": 0.25})
    main(options(folder, tmp_path / "out", steps=9, dev_every=1, patience=2, dev_new_tokens=2))
    assert [row["step"] for row in lines(tmp_path / "out" / "dev.jsonl")] == [0, 1, 2]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["steps"] == 2


def test_a_whole_model_keeps_its_best_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectllm.training import dev

    scores = iter([0.5, 0.1])
    whole = dev.score
    monkeypatch.setattr(dev, "score", lambda *args: {**whole(*args), "set_f1": next(scores)})
    run = options(folder, tmp_path / "out", tune="full", steps=2, dev_every=2, dev_new_tokens=2)
    main(run)
    before, after, last = (
        load(str(place), "float32").model.state_dict() for place in (folder / "model", run.out, run.out / "last")
    )
    assert all(weight.equal(after[name]) for name, weight in before.items())
    assert any(not weight.equal(last[name]) for name, weight in before.items())


def test_the_record_holds_options_revision_and_data(folder: Path, tmp_path: Path) -> None:
    import hashlib

    (folder / "manifest.json").write_text('{"rows": 4}')
    run = options(folder, tmp_path / "out", steps=1)
    main(run)
    record = json.loads((run.out / "run.json").read_text())
    assert record["options"]["rate"] == 1e-2
    assert record["git"] is None or len(record["git"]) == 40
    (data,) = record["data"]
    assert data["sha256"] == hashlib.sha256(run.data.read_bytes()).hexdigest()
    assert data["manifest_sha256"] == hashlib.sha256(b'{"rows": 4}').hexdigest()


def test_trackers_are_asked_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = options(folder, tmp_path / "out", steps=1, report_to=("tensorboard",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AffectError, match="pip install tensorboard"):
        main(run)
    monkeypatch.undo()
    pytest.importorskip("tensorboard")
    main(run)
    assert list(run.out.rglob("events.out.tfevents.*"))


def test_none_are_asked_without_a_name(folder: Path, tmp_path: Path) -> None:
    main(options(folder, tmp_path / "out", steps=1))
    assert not list((tmp_path / "out").rglob("events.out.tfevents.*"))


def test_a_resumed_run_has_the_losses_of_a_whole_one_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    """Killed in the middle of an epoch, with dropout, accumulation and dev scores."""
    more = {
        "steps": 5, "batch": 1, "save_every": 3, "dropout": 0.2, "dev_every": 2, "dev_new_tokens": 2,
        "trainer": {"save_total_limit": 9, "gradient_accumulation_steps": 2},
    }  # fmt: skip
    main(options(folder, tmp_path / "whole", **more))
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", killed, ignore=shutil.ignore_patterns("run.json", "checkpoint-5", ADAPTER))
    # The checkpoint's own adapter is of the files left out above.
    for name in ("checkpoints/checkpoint-3", "best"):
        shutil.copy(tmp_path / "whole" / name / ADAPTER, killed / name / ADAPTER)
    text = (killed / "options.json").read_text().replace(str(tmp_path / "whole"), str(killed))
    (killed / "options.json").write_text(text)
    main(options(folder, killed, **more))
    assert len(losses(killed)) == 5
    assert losses(killed) == losses(tmp_path / "whole")
    assert lines(killed / "dev.jsonl") == lines(tmp_path / "whole" / "dev.jsonl")
    one, other = (load_file(out / "last" / ADAPTER) for out in (tmp_path / "whole", killed))
    assert all(weight.equal(other[name]) for name, weight in one.items())


# What cannot go on.


def test_a_loss_that_is_no_number_names_its_conversations(folder: Path, tmp_path: Path) -> None:
    run = options(folder, tmp_path / "out", rate=1e30, steps=4)
    with pytest.raises(AffectError, match=r"The loss of step \d is (nan|inf)"):
        main(run)
    saved = json.loads((run.out / "failed_batch.json").read_text())
    assert saved["step"] > 1
    assert len(saved["ids"]) == len(saved["tokens"]) == 2
    assert set(saved["ids"]) <= {f"clip{i}" for i in range(4)}


def test_a_full_memory_says_what_filled_it_and_what_to_turn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SFTTrainer, "compute_loss", full)
    with pytest.raises(AffectError) as found:
        main(options(folder, tmp_path / "out"))
    text = str(found.value)
    assert "batch of 2 conversations of up to" in text
    assert "8 frames" in text
    assert "--batch 1" in text
    assert "gradient_checkpointing" in text


def test_too_many_tokens_name_the_clip_and_the_knob(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        AffectError, match=r"clip clip\d.mp4\) takes \d+ tokens .*--max-tokens 50. Raise --max-tokens to \d+"
    ):
        main(options(folder, tmp_path / "out", max_tokens=50))


def test_unknown_keys_of_a_config_are_named_with_the_right_one(tmp_path: Path) -> None:
    from affectllm.options import parse

    (tmp_path / "c.yaml").write_text("think_wieght: 2\n")
    with pytest.raises(AffectError, match="think_weight"):
        parse(SFT, ["--config", str(tmp_path / "c.yaml"), "--data", "d", "--out", "o"])


def test_data_of_another_schema_names_file_row_and_key(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"id": "a", "conversations": [{"from": "human", "value": "hi"}]}\n')
    with pytest.raises(AffectError, match=r"wrong\.jsonl"):
        main(options(folder, tmp_path / "out", data=wrong))
