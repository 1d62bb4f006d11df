"""The first test of any trainer: change the media, and loss and log-probabilities must change."""

from pathlib import Path

import msgspec
import pytest
import torch

from affectllm import jsonl
from affectllm.media.cache import FeatureCache
from affectllm.models import load
from affectllm.models.base.backbone import Sample, join_media
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Conversation
from affectllm.training.collator import IGNORED, ConversationCollator
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import write_toy_data
from tests.tiny_models import save_tiny_affect, save_tiny_omni
from tests.trainers import grpo_trainer
from train.grpo import GRPO

FAMILIES = {"affect": save_tiny_affect, "omni": save_tiny_omni}


@pytest.fixture(scope="module", params=FAMILIES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MediaStore:
    folder = tmp_path_factory.mktemp(request.param)
    write_toy_data(folder)
    backbone = load(str(FAMILIES[request.param](folder / "model")), dtype="float32")
    backbone.model.eval()
    return MediaStore(backbone, folder, FeatureCache(folder / "cache"))


def rows(store: MediaStore) -> list[Conversation]:
    return list(jsonl.read(store.root / "conversations.jsonl", Conversation))


def test_swapping_the_clip_changes_the_supervised_loss(store: MediaStore) -> None:
    row = rows(store)[0]
    losses = []
    for clip in ("clip0.mp4", "clip1.mp4"):
        swapped = msgspec.structs.replace(row, media=msgspec.structs.replace(row.media, video=clip))
        batch = ConversationCollator(store)([{"conversation": jsonl.dumps(swapped)}])
        with torch.no_grad():
            losses.append(store.backbone.model(**batch).loss.item())
    assert losses[0] != pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_each_modality_alone_changes_the_output(store: MediaStore, kind: str) -> None:
    own, other = (store.sample(row) for row in rows(store)[:2])
    names = {
        "video": ("face_features", "pixel_values_videos"),
        "audio": ("voice_features", "prosody", "input_features"),
    }[kind]
    changed = Sample(own.prompt_ids, {n: other.media[n] if n in names else t for n, t in own.media.items()})
    with torch.no_grad():
        a, b = (
            store.backbone.model(input_ids=torch.tensor([s.prompt_ids]), **join_media([s])).logits
            for s in (own, changed)
        )
    assert (a - b).abs().max() > 1e-6


def test_labels_cover_the_assistant_turn_and_nothing_else(store: MediaStore) -> None:
    row = rows(store)[2]
    batch = ConversationCollator(store)([{"conversation": jsonl.dumps(row)}])
    kept = batch["labels"][0] != IGNORED
    said = store.backbone.tokenizer.decode(batch["input_ids"][0][kept])
    assert said == row.messages[-1].content + "<|im_end|>"


def test_a_batch_equals_its_rows(store: MediaStore) -> None:
    collate, wanted = ConversationCollator(store), rows(store)[:3]
    together = collate([{"conversation": jsonl.dumps(row)} for row in wanted])
    with torch.no_grad():
        logits = store.backbone.model(**{k: v for k, v in together.items() if k != "labels"}).logits
        for i, row in enumerate(wanted):
            alone = collate([{"conversation": jsonl.dumps(row)}])
            length = alone["input_ids"].shape[1]
            single = store.backbone.model(**{k: v for k, v in alone.items() if k != "labels"}).logits
            torch.testing.assert_close(logits[i, :length], single[0], atol=1e-4, rtol=1e-4)


def test_each_clip_is_read_once(store: MediaStore) -> None:
    fresh = MediaStore(store.backbone, store.root, FeatureCache(store.root / "cache-fresh"))
    for _ in range(3):
        for row in rows(store):
            fresh.sample(row)
    assert fresh.reads == len(rows(store))


def test_swapping_the_clip_changes_grpo_log_probabilities(store: MediaStore, tmp_path: Path) -> None:
    """Policy and reference both: the forward that TRL leaves blind."""
    data = store.root / "conversations.jsonl"
    reward = "tests.training.test_scripts:variety"
    run = grouped(GRPO, data=data, out=tmp_path, prompts=1, group=2, steps=1, rewards=reward, dtype="float32")
    backbone = load(store.backbone.name, dtype="float32")
    make_trainable(backbone, Tuning(rank=4), 7)
    fresh = MediaStore(backbone, store.root, store.cache)
    trainer = grpo_trainer(fresh, rows(fresh), run)
    own, other = (fresh.sample(row) for row in rows(fresh)[:2])
    answer = backbone.answer_ids("happy")
    ids = torch.tensor([[*own.prompt_ids, *answer]])
    found = []
    for media in (own, other):
        trainer._active = [media]
        with torch.no_grad():
            found.append(
                trainer._get_per_token_logps_and_entropies(trainer.model, ids, torch.ones_like(ids), len(answer))[0]
            )
    assert found[0].shape == (1, len(answer))
    assert (found[0] - found[1]).abs().max() > 1e-6
