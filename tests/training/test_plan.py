"""A run tells what it will do before it does it, and refuses when a modality would not reach the model."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from affectllm import jsonl
from affectllm.commands import cli
from affectllm.data.reading import read_split
from affectllm.errors import AffectError
from affectllm.models import load, load_shape
from affectllm.options import grouped
from affectllm.training.plan import Work, activations, flops, make_plan, memory_gib
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import conversation, write_clip, write_toy_data
from tests.tiny_models import TINY, families, save_tiny_affect, save_tiny_omni, save_tiny_qwen_vl
from train.sft import SFT
from train.sft import main as sft

# Adapter parameters of rank 16 on the seven linear layers of a decoder of Qwen2.5-7B's shape, by hand.
D, KV, F, LAYERS = 3584, 512, 18944, 28
RANK_16 = 16 * LAYERS * (2 * (D + D) + 2 * (D + KV) + 3 * (D + F))


def save_7b_shape(folder: Path) -> Path:
    """Config and processor of a Thinker of Qwen2.5-Omni-7B's size, random in everything else, and no weights."""
    from transformers import AutoProcessor, Qwen2_5OmniThinkerConfig

    save_tiny_omni(folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    tiny = Qwen2_5OmniThinkerConfig.from_pretrained(folder)
    Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": 152064,
            "hidden_size": D,
            "intermediate_size": F,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision_config={"hidden_size": 1280, "intermediate_size": 3420, "depth": 32, "out_hidden_size": D},
        audio_config={"output_dim": D, "num_mel_bins": 16},
        audio_token_index=tiny.audio_token_id,
        image_token_index=tiny.image_token_id,
        video_token_index=tiny.video_token_id,
    ).save_pretrained(folder)
    assert AutoProcessor.from_pretrained(folder).tokenizer.eos_token
    return folder


def run_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert not end.value.code
    return json.loads(capsys.readouterr().out)


def test_a_7b_shaped_model_is_planned_from_its_config_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "clip0.mp4", seconds=2.0)
    data = tmp_path / "conversations.jsonl"
    data.write_text(jsonl.dumps(conversation("clip0", ["happy"])))
    config = tmp_path / "sft.yaml"
    config.write_text(f"model: {save_7b_shape(tmp_path / 'model')}\nbatch: 2\ndtype: bfloat16\n")
    words = ["train", "sft", "--config", str(config), "--data", str(data), "--out", str(tmp_path / "out"), "--dry-run"]
    plan = run_command([*words, "--trainer.gradient_checkpointing", "true"], capsys)
    assert not (tmp_path / "out").exists()
    assert plan["trainable"] == {"projector": 0, "vision": 0, "audio": 0, "llm": 0, "adapter": RANK_16}
    assert 7.6e9 < plan["parameters"]["llm"] < 7.7e9
    assert plan["tokens"]["video"] * 4 == plan["media"]["pixel_values_videos"][0]
    assert plan["tokens"]["total"] == sum(count for kind, count in plan["tokens"].items() if kind != "total")
    assert plan["frames"] == 8
    assert plan["audio_s"] == pytest.approx(2.0, abs=0.1)
    # 8.9e9 weights of two bytes, and adapters with gradients and AdamW's states in float32.
    assert plan["memory_parts_gib"]["weights"] == pytest.approx(sum(plan["parameters"].values()) * 2 / 2**30, rel=0.02)
    assert plan["memory_parts_gib"]["optimizer"] == pytest.approx(RANK_16 * 8 / 2**30, rel=1e-6)
    assert 16 < plan["memory_gib"] < 24
    # Forward, backward through frozen weights, and the recomputed forward: three times 2 x weights x tokens.
    assert plan["flops"] == pytest.approx(3 * 2 * 6.5e9 * 2 * plan["tokens"]["total"], rel=0.35)


@pytest.mark.parametrize("family", families("AffectLLM", "Qwen2.5-Omni Thinker"))
def test_every_family_is_planned_as_it_is_loaded(family: str, tmp_path: Path) -> None:
    data = write_toy_data(tmp_path, count=1)
    model = str(TINY[family](tmp_path / "model"))
    plans = []
    for opened in (load(model, "float32", trainable=True), load_shape(model, "float32")):
        make_trainable(opened, Tuning(rank=4), 7)
        rows = read_split(data, "train")
        plans.append(make_plan(opened, rows, tmp_path, opened.modalities, Work(2, 2, 0)))
    real, planned = plans
    assert planned.trainable == real.trainable
    assert planned.tokens == real.tokens
    assert planned.memory_gib == pytest.approx(real.memory_gib)
    assert planned.flops == pytest.approx(real.flops)
    assert real.trainable["adapter"] > 0
    assert "other" not in real.parameters


def test_a_grpo_run_is_planned_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_toy_data(tmp_path, count=1)
    model = save_tiny_affect(tmp_path / "model")
    sft(grouped(SFT, model=str(model), data=data, out=tmp_path / "sft", steps=1, batch=1))
    words = ["train", "grpo", "--model", str(tmp_path / "sft"), "--data", str(data), "--out", str(tmp_path / "o")]
    small = run_command([*words, "--dry-run", "--group", "2"], capsys)
    large = run_command([*words, "--dry-run", "--group", "4"], capsys)
    assert small["trainable"]["projector"] > 0
    assert small["trainable"]["adapter"] > 0
    assert large["flops"] > small["flops"]
    assert large["memory_parts_gib"]["kv_cache"] == pytest.approx(2 * small["memory_parts_gib"]["kv_cache"])


def test_data_sets_beside_the_first_are_planned_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the second has sound, so that its conversations must be looked at."""
    model = save_tiny_affect(tmp_path / "model")
    for name, parts, count in (("silent", ("video",), 2), ("sounding", ("video", "audio"), 3)):
        (tmp_path / name).mkdir()
        rows = [conversation(f"{name}{i}", ["happy"], parts=parts) for i in range(count)]
        for row in rows:
            write_clip(tmp_path / name / f"{row.id}.mp4", audio="audio" in parts)
        lines = "".join(jsonl.dumps(row) + "\n" for row in rows)
        (tmp_path / name / "conversations.jsonl").write_text(lines)
    silent, sounding = (str(tmp_path / name / "conversations.jsonl") for name in ("silent", "sounding"))
    words = ["train", "sft", "--model", str(model), "--data", silent, "--out", str(tmp_path / "out"), "--dry-run"]
    alone = run_command([*words, "--modalities", "video"], capsys)
    both = run_command([*words, "--also", sounding], capsys)
    assert (alone["conversations"], alone["audio_s"]) == (2, 0.0)
    assert both["conversations"] == 5
    assert both["audio_s"] == pytest.approx(1.0, abs=0.1)
    assert both["tokens"]["audio"] > 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_of_arithmetic_is_near_what_is_counted(tmp_path: Path, checkpointing: bool) -> None:
    """Against PyTorch's counter on a forward and backward of text, the head read on every token in both."""
    backbone = load(str(save_tiny_omni(tmp_path, hidden=64)), dtype="float32", trainable=True)
    make_trainable(backbone, Tuning(rank=1), 7)
    ids = torch.full((2, 40), backbone.tokenizer("u")["input_ids"][0])
    if checkpointing:
        backbone.model.enable_input_require_grads()
        backbone.core.gradient_checkpointing_enable({"use_reentrant": False})
    backbone.model.train()
    with FlopCounterMode(display=False) as counter:
        backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    work = Work(2, 2, ids.shape[1], checkpointing=checkpointing)
    assert flops(backbone, 0, {}, work) == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_the_estimate_of_activations_is_near_what_is_kept(tmp_path: Path) -> None:
    """Against the storages that PyTorch saves for the backward of the layers, weights aside."""
    backbone = load(str(save_tiny_omni(tmp_path, hidden=64)), dtype="float32", trainable=True)
    make_trainable(backbone, Tuning(rank=2), 7)
    backbone.model.train()
    ids = torch.full((2, 256), backbone.tokenizer("u")["input_ids"][0])
    weights = {p.untyped_storage().data_ptr() for p in backbone.model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = backbone.core.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert output.last_hidden_state.requires_grad
    estimate = activations(backbone, ids.numel(), Work(2, 2, 256))
    assert estimate == pytest.approx(sum(kept.values()), rel=0.1)


def test_checkpointing_and_8_bit_states_take_less(tmp_path: Path) -> None:
    backbone = load_shape(str(save_tiny_omni(tmp_path)), "float32")
    make_trainable(backbone, Tuning(rank=4), 7)
    work = Work(2, 2, 16)
    plain = memory_gib(backbone, 500, {}, work)
    lean = memory_gib(backbone, 500, {}, work._replace(checkpointing=True, optimizer="paged_adamw_8bit"))
    assert lean["activations"] < plain["activations"]
    assert lean["optimizer"] == plain["optimizer"] / 4


def test_a_modality_that_no_row_asks_about_stops_the_run(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip0.mp4")
    data = tmp_path / "conversations.jsonl"
    data.write_text(jsonl.dumps(conversation("clip0", ["happy"], parts=("video",))))
    with pytest.raises(AffectError, match=r"Modality audio was asked for, but none of 1 conversations"):
        sft(grouped(SFT, model=str(save_tiny_affect(tmp_path / "m")), data=data, out=tmp_path / "out", steps=1))


def test_a_modality_whose_tokens_are_lost_stops_the_run(tmp_path: Path) -> None:
    """A chat template that forgets sound: the loss curve would look as always."""
    data = write_toy_data(tmp_path, count=1)
    model = save_tiny_omni(tmp_path / "m")
    template = model / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|audio_bos|><|AUDIO|><|audio_eos|>", ""))
    with pytest.raises(AffectError, match=r"0 audio tokens of it reach"):
        sft(grouped(SFT, model=str(model), data=data, out=tmp_path / "out", steps=1))


def test_rows_of_different_modalities_are_each_looked_at(tmp_path: Path) -> None:
    rows = []
    for i, part in enumerate(("video", "audio")):
        write_clip(tmp_path / f"clip{i}.mp4")
        rows.append(conversation(f"clip{i}", ["happy"], parts=(part,)))
    backbone = load(str(save_tiny_affect(tmp_path / "m")), "float32")
    plan = make_plan(backbone, rows, tmp_path, ("video", "audio"), Work(1, 1, 0))
    assert "video" in plan.tokens


def test_a_model_without_ears_refuses_a_run_with_sound(tmp_path: Path) -> None:
    data = write_toy_data(tmp_path, count=1)
    with pytest.raises(AffectError, match="--modalities video"):
        sft(grouped(SFT, model=str(save_tiny_qwen_vl(tmp_path / "m")), data=data, out=tmp_path / "out", steps=1))
