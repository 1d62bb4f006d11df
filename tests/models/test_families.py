"""Every family, on a tiny random instance: it sees and hears, its inputs are the stock processor's, adapters stay in
the language model, and no placeholder is ever sampled."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoProcessor

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.models import FAMILIES, imported, load, load_shape
from affectllm.models.base import seam
from affectllm.models.base.backbone import Backbone, Media, Sample, join_media
from affectllm.models.base.generation import generate
from affectllm.models.families.qwen3_omni import audio_tokens
from affectllm.models.families.qwen_omni import true_length_mel
from affectllm.records import Conversation
from affectllm.training.tuning import Tuning, make_trainable
from tests.clips import conversation, write_clip
from tests.tiny_models import TINY, save_tiny_qwen_vl

# Parts that are encoders or their projectors, whatever the family calls them.
ENCODERS = re.compile(r"visual|vision|audio|encoder|fusion")
STOCK = [name for name in TINY if name != "AffectLLM"]


class Case(NamedTuple):
    family: str
    folder: Path
    backbone: Backbone
    rows: list[Conversation]
    samples: list[Sample]


@pytest.fixture(scope="module", params=TINY)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A model and two clips of different length, the questions about them of different length too."""
    folder = tmp_path_factory.mktemp("family")
    backbone = load(str(TINY[request.param](folder / "model")), dtype="float32")
    backbone.model.eval()
    rows = []
    for i, seconds in enumerate((1.0, 2.2)):
        write_clip(folder / f"clip{i}.mp4", seed=i, seconds=seconds)
        row = conversation(f"clip{i}", ["happy"], parts=backbone.modalities)
        # The second question is longer than the first, so that a batch is padded.
        rows.append(msgspec.json.decode(jsonl.dumps(row).replace("show?", "show?" + " Why?" * i), type=Conversation))
    return Case(request.param, folder, backbone, rows, [backbone.sample(row, folder) for row in rows])


def logits(model: Any, ids: torch.Tensor, media: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **media).logits


def positions(model: Any, **inputs: Any) -> torch.Tensor:
    """What the language model gets as `position_ids` in a forward: (axes, B, L)."""
    seen: list[torch.Tensor] = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    return seen[0]


def test_every_family_has_a_tiny_instance() -> None:
    assert {family.name for family in FAMILIES} == set(TINY)


def test_loss_and_gradients_are_finite(case: Case) -> None:
    backbone = load(str(case.folder / "model"), dtype="float32", trainable=True)
    make_trainable(backbone, Tuning(rank=4), 7)
    ids = torch.tensor([case.samples[0].prompt_ids])
    loss = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, **case.samples[0].media).loss
    loss.backward()
    assert loss.isfinite()
    gradients = {name: p.grad for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients.values())


def test_adapters_sit_in_the_language_model_only(case: Case) -> None:
    """Looked up on the adapted model itself: what PEFT makes of a pattern depends on the family."""
    backbone = load(str(case.folder / "model"), dtype="float32", trainable=True)
    make_trainable(backbone, Tuning(rank=4), 7)
    adapted = {
        name.partition(".lora_")[0].removeprefix("base_model.model.")
        for name, _ in backbone.model.named_parameters()
        if ".lora_" in name
    }
    assert sum(name.endswith(("q_proj", "k_proj", "v_proj", "o_proj")) for name in adapted) == 2 * 4
    assert not [name for name in adapted if ENCODERS.search(name) or "experts" in name]
    trained = [name for name, p in backbone.model.named_parameters() if p.requires_grad and ".lora_" not in name]
    assert all(any(module in name for module in backbone.trained_modules) for name in trained)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_each_modality_changes_the_output(case: Case, kind: str) -> None:
    if kind not in case.backbone.modalities:
        pytest.skip(f"{case.family} takes no {kind}")
    own = case.samples[0]
    media = case.backbone.read(case.rows[0].media, case.folder, case.backbone.modalities)
    # Another clip of the same length and times, so that only what is seen or heard differs.
    assert media.frames_THWC is not None
    changed = {
        "video": media._replace(frames_THWC=255 - media.frames_THWC),
        "audio": media._replace(wave=None if media.wave is None else media.wave[::-1].copy()),
    }[kind]
    other = case.backbone.assemble(case.rows[0], case.backbone.modalities, case.backbone.preprocess(changed))
    assert other.prompt_ids == own.prompt_ids
    ids = torch.tensor([own.prompt_ids])
    found = [logits(case.backbone.model, ids, sample.media)[0].double() for sample in (own, other)]
    assert (found[0] - found[1]).abs().max() > 1e-6
    # Token by token: the mean over all tokens of a random model may move by less than float32 resolves.
    losses = [torch.nn.functional.cross_entropy(scores[:-1], ids[0, 1:], reduction="none") for scores in found]
    assert (losses[0] - losses[1]).abs().max() > 1e-7


def test_a_batch_equals_its_rows(case: Case) -> None:
    longest = max(len(sample.prompt_ids) for sample in case.samples)
    ids = torch.zeros(2, longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sample in enumerate(case.samples):
        ids[i, : len(sample.prompt_ids)] = torch.tensor(sample.prompt_ids)
        mask[i, : len(sample.prompt_ids)] = 1
    with torch.no_grad():
        together = case.backbone.model(input_ids=ids, attention_mask=mask, **join_media(case.samples)).logits
    for i, sample in enumerate(case.samples):
        alone = logits(case.backbone.model, torch.tensor([sample.prompt_ids]), sample.media)[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, atol=1e-4, rtol=1e-4)


def test_generation_reads_what_the_forward_reads(case: Case) -> None:
    """The scores of each token generated through the cache are those of a whole forward."""
    for sample in case.samples:
        ids = torch.tensor([sample.prompt_ids])
        made = case.backbone.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False, **sample.media,
            **case.backbone.suppressed(), return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        whole = logits(case.backbone.model, made.sequences, sample.media)[0]
        stepwise = torch.cat(made.logits)
        expected = whole[ids.shape[1] - 1 : -1]
        # Wrong positions or masks show here, long before they change a greedy token of a random model.
        torch.testing.assert_close(stepwise, expected, atol=2e-5, rtol=2e-5)


def test_a_static_cache_keeps_gemmas_frames_open_both_ways(case: Case) -> None:
    if case.family != "Gemma 4":
        pytest.skip("of Gemma 4 alone, whose masks a static cache prepares ahead of the forward")
    ids = torch.tensor([case.samples[0].prompt_ids])
    made = case.backbone.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False, disable_compile=True,
        cache_implementation="static", return_dict_in_generate=True, output_logits=True, **case.samples[0].media,
    )  # fmt: skip
    expected = logits(case.backbone.model, ids, case.samples[0].media)[:, -1]
    torch.testing.assert_close(made.logits[0], expected, atol=1e-5, rtol=1e-5)


def test_answers_of_a_batch_are_those_of_its_rows(case: Case) -> None:
    together = generate(case.backbone, case.samples, max_new_tokens=3)[0]
    assert together == [generate(case.backbone, [sample], max_new_tokens=3)[0][0] for sample in case.samples]


def test_placeholders_are_never_sampled(case: Case) -> None:
    banned = case.backbone.media_token_ids
    assert set(case.backbone.placeholders.values()) <= set(banned)
    head = case.backbone.core.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[banned] = 1e4
    hook = head.register_forward_hook(lambda module, args, output: output + bias)
    texts, _ = generate(case.backbone, case.samples[:1], max_new_tokens=4, temperature=1.0)
    hook.remove()
    assert not set(banned) & set(case.backbone.tokenizer(texts[0])["input_ids"])


def test_what_is_saved_is_loaded(case: Case, tmp_path: Path) -> None:
    case.backbone.core.save_pretrained(tmp_path)
    case.backbone.processor.save_pretrained(tmp_path)
    again = load(str(tmp_path), dtype="float32")
    again.model.eval()
    sample = again.sample(case.rows[1], case.folder)
    assert sample.prompt_ids == case.samples[1].prompt_ids
    ids = torch.tensor([sample.prompt_ids])
    ours = logits(case.backbone.model, ids, case.samples[1].media)
    torch.testing.assert_close(logits(again.model, ids, sample.media), ours, atol=0, rtol=0)
    # Other programs choose the class by this name.
    stock = AutoConfig.from_pretrained(case.folder / "model").architectures
    assert AutoConfig.from_pretrained(tmp_path).architectures == stock


def stock_inputs(backbone: Backbone, row: Conversation, media: Media) -> dict[str, torch.Tensor]:
    """The stock processor's call for one clip at its own rate."""
    from affectllm.models.base.backbone import chat_message

    assert media.frames_THWC is not None
    assert media.times_s is not None
    processor = AutoProcessor.from_pretrained(backbone.name)
    prompt = processor.apply_chat_template(
        [chat_message(row.messages[0], backbone.modalities)], tokenize=False, add_generation_prompt=True
    )
    rate = 1 / float(np.diff(media.times_s).mean())
    frames = len(media.times_s)
    sound = {} if media.wave is None else {"audio": [media.wave]}
    seconds: dict[str, Any] = {"fps": rate}
    if "omni" not in backbone.core.config.model_type:
        indices = (media.times_s * 1000).round().astype(int).tolist()
        seconds = {"video_metadata": [{"total_num_frames": frames, "fps": rate, "frames_indices": list(range(frames))}]}
        if "second_per_grid_ts" not in processor.model_input_names:
            seconds["video_metadata"][0] |= {"fps": 1000.0, "frames_indices": indices}
    return processor(
        text=[prompt], videos=[media.frames_THWC.transpose(0, 3, 1, 2)], do_sample_frames=False, return_tensors="pt",
        **sound, **seconds,
    )  # fmt: skip


@pytest.mark.parametrize("name", STOCK)
def test_inputs_and_positions_are_those_of_the_stock_processor(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two clips of different rate: token for token, value for value, position for position."""
    folder = tmp_path_factory.mktemp("stock")
    backbone = load(str(TINY[name](folder / "model")), dtype="float32")
    family = next(family for family in FAMILIES if family.name == name)
    stock = getattr(__import__("transformers"), imported(family.model).__name__).from_pretrained(folder / "model")
    stock.eval()
    backbone.model.eval()
    found = []
    for i, seconds in enumerate((1.0, 2.2)):
        write_clip(folder / f"clip{i}.mp4", seed=i, seconds=seconds)
        row = conversation(f"clip{i}", ["happy"], parts=backbone.modalities)
        media = backbone.read(row.media, folder, backbone.modalities)
        theirs, ours = dict(stock_inputs(backbone, row, media)), backbone.sample(row, folder)
        assert theirs["input_ids"][0].tolist() == ours.prompt_ids
        for key, value in ours.media.items():
            other = torch.as_tensor(theirs[key])
            if key.startswith(("input_features", "feature_attention_mask")):
                # The stock call pads sound behind its end; ours has its true length.
                frames = int(theirs.get("feature_attention_mask", theirs.get("input_features_mask")).sum())  # type: ignore[union-attr]
                # Alone in its batch, Qwen3-Omni's last frame sees the sound mirrored instead (`true_length_mel`).
                frames -= name.startswith("Qwen3-Omni")
                axis = 1 if key != "input_features" or "input_features_mask" in theirs else 2
                other, value = other.narrow(axis, 0, frames), value.narrow(axis, 0, frames)
            if name == "Gemma 4":
                # The stock call counts clips in a first dimension until transformers 5.18.
                other = other.reshape(value.shape)
            torch.testing.assert_close(value.to(other.dtype), other, atol=1e-6, rtol=0)
        if name == "Gemma 4" and seam.older_than("5.23") and not seam.older_than("5.19"):
            pytest.skip("the stock model's forward takes no video in these versions")
        ids = torch.tensor([ours.prompt_ids])
        mine = positions(backbone.model, input_ids=ids, attention_mask=torch.ones_like(ids), **ours.media)
        known = {key: value for key, value in theirs.items() if not key.startswith("num_soft")}
        torch.testing.assert_close(mine, positions(stock, **known))
        with torch.no_grad():
            expected = stock(**known).logits
        torch.testing.assert_close(logits(backbone.model, ids, ours.media), expected, atol=1e-5, rtol=1e-5)
        found.append(mine)
    assert found[0].shape == found[1].shape or not torch.equal(found[0], found[1])


@pytest.mark.parametrize("samples", [16000, 16001, 16384])
def test_sound_is_that_of_a_stock_batch_to_its_last_frame(samples: int) -> None:
    """Beside a longer clip, Qwen3-Omni's stock call puts silence behind the shorter one, as is done here for each."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=128)
    wave = np.random.default_rng(0).normal(0, 0.1, samples + 1600).astype(np.float32)
    batch = extractor([wave[:samples], wave], sampling_rate=16000, padding=True, truncation=False, return_tensors="pt")
    ours = true_length_mel(extractor, wave[:samples])
    assert ours.shape[-1] == -(-samples // 160)
    torch.testing.assert_close(ours[0], batch["input_features"][0, :, : ours.shape[-1]], atol=1e-6, rtol=0)


def test_time_positions_follow_the_frames_own_times(tmp_path: Path) -> None:
    """Worked by hand: 4 frames in 2 grid steps; M-RoPE counts 4 positions a second (the config's default)."""
    backbone = load(str(save_tiny_qwen_vl(tmp_path)), dtype="float32")
    frames = np.zeros((4, 56, 56, 3), np.uint8)
    for step_s, expected in ((0.25, 2), (0.5, 4), (1.0, 8)):
        media = backbone.preprocess(Media(frames, np.arange(4) * step_s, None))
        ids = torch.tensor([backbone.expand("a<|vision_start|><|video_pad|><|vision_end|>b", media)])
        temporal = positions(backbone.model, input_ids=ids, attention_mask=torch.ones_like(ids), **media)[0, 0]
        first = 2  # "a" and the start mark
        tokens = temporal[ids[0] == backbone.core.config.video_token_id]
        assert tokens.reshape(2, -1).unique(dim=1).squeeze(1).tolist() == [first, first + expected]


def test_qwen3_omni_counts_13_tokens_a_second() -> None:
    from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import _get_feat_extract_output_lengths

    for frames in range(1, 450):
        assert audio_tokens(frames) == int(_get_feat_extract_output_lengths(torch.tensor(frames)))


def test_a_model_without_ears_refuses_sound(tmp_path: Path) -> None:
    backbone = load(str(save_tiny_qwen_vl(tmp_path)), dtype="float32")
    with pytest.raises(AffectError, match=r"takes video, no audio.*--modalities video"):
        backbone.sample(conversation("clip", ["happy"]), tmp_path)


def test_an_unknown_family_names_those_known(tmp_path: Path) -> None:
    AutoConfig.for_model("llama").save_pretrained(tmp_path)
    with pytest.raises(AffectError, match=r"'llama', which is not supported") as refused:
        load(str(tmp_path))
    assert all(f"{family.types[0]} ({family.name})" in str(refused.value) for family in FAMILIES)


def test_a_model_without_its_processor_is_named(tmp_path: Path) -> None:
    save_tiny_qwen_vl(tmp_path)
    for file in tmp_path.iterdir():
        if file.name != "config.json" and file.suffix != ".safetensors":
            file.unlink()
    for opened in (load, load_shape):
        with pytest.raises(AffectError, match="comes without its processor files"):
            opened(str(tmp_path), "float32")


def test_a_name_that_leads_nowhere_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="Model nobody/nothing cannot be read"):
        load("nobody/nothing")
    with pytest.raises(AffectError, match="--dtype bf16 is none of auto, float32"):
        load(str(save_tiny_qwen_vl(tmp_path)), "bf16")
