"""What TRL, transformers' Trainer and PEFT must be like for the trainers here: one row a name, with who uses it."""

import ast
import importlib
from pathlib import Path

import pytest
import torch
import trl
import trl.trainer.utils as trl_utils

from affectllm.training import seam
from affectllm.training.plan import HEAD_CHUNK
from tests.contracts import Accepts, Attributes, Gives, Method, Names, Row, Text

GRPO, SFT, DPO, REWARD = "trl:GRPOTrainer", "trl:SFTTrainer", "trl:DPOTrainer", "trl:RewardTrainer"
TRAINER = "transformers:Trainer"
OURS = {
    GRPO: "affectllm.training.grpo.trainer:ClipGRPOTrainer",
    SFT: "affectllm.training.sft:ClipSFTTrainer",
    DPO: "affectllm.training.dpo:ClipDPOTrainer",
    REWARD: "affectllm.training.reward_model:ClipRewardTrainer",
}


def overridden(trainer: str, name: str, *takes: str, stock: str = "") -> Method:
    """`stock` is where the parameters are named, if the trainer itself only passes them on."""
    ours = f"{OURS[trainer]}.{name}"
    return Method(f"{stock or trainer}.{name}", takes, f"the override {ours}", ours)


OVERRIDDEN = [
    overridden(GRPO, "_get_train_sampler", "dataset"),
    overridden(GRPO, "_prepare_inputs", "generation_batch"),
    overridden(GRPO, "_tokenize_prompts", "prompts"),
    overridden(GRPO, "_generate_single_turn", "prompt_ids", "images", "multimodal_fields", "num_generations"),
    overridden(GRPO, "_generate_and_score_completions", "inputs"),
    overridden(GRPO, "_calculate_rewards", "inputs", "prompts", "completions", "completion_ids_list"),
    overridden(
        GRPO, "_get_per_token_logps_and_entropies", "model", "input_ids", "attention_mask", "logits_to_keep",
        "batch_size", "compute_entropy", "compute_aux_loss",
    ),
    overridden(GRPO, "_compute_loss", "model", "inputs"),
    overridden(GRPO, "_save"),
    overridden(GRPO, "log", "logs", "start_time"),
    overridden(SFT, "_get_train_sampler", "train_dataset"),
    overridden(SFT, "create_optimizer", "model"),
    overridden(SFT, "_get_num_items_in_batch", "batch_samples", "device"),
    overridden(SFT, "training_step", "model", "inputs", "num_items_in_batch", stock=TRAINER),
    overridden(SFT, "compute_loss", "model", "inputs", "return_outputs", "num_items_in_batch"),
    overridden(DPO, "_prepare_dataset", "dataset"),
    overridden(DPO, "_save"),
    overridden(REWARD, "_prepare_dataset", "dataset"),
    overridden(REWARD, "compute_loss", "model", "inputs"),
]  # fmt: skip
ROOM = "affectllm/training/grpo"
TRAINER_FILE, ROWS_FILE = f"{ROOM}/trainer.py", f"{ROOM}/rows.py"
FUSED = f"{ROOM}/rows.py and shared.py"
CALLED: list[Row] = [
    Method(f"{GRPO}._save_checkpoint", ("model", "trial"), TRAINER_FILE),
    Method(f"{GRPO}._log_completion_extra", ("column", "values"), TRAINER_FILE),
    Method(f"{GRPO}._log_metric", ("name", "value"), TRAINER_FILE),
    Gives(f"{GRPO}._tokenize_prompts", 3, TRAINER_FILE),
    Gives(f"{GRPO}._generate_single_turn", 2, TRAINER_FILE),
    Gives(f"{GRPO}._get_per_token_logps_and_entropies", 3, TRAINER_FILE),
    Attributes(
        GRPO,
        (
            "_buffered_inputs", "_step", "_metrics", "_tokenizer", "reward_weights", "reward_funcs", "num_generations",
            "max_completion_length", "current_gradient_accumulation_steps", "use_vllm",
            "vllm_importance_sampling_correction", "generation_config",
        ),
        TRAINER_FILE,
    ),
    Attributes(GRPO, ("reward_func_names", "_pending_extra_logs"), TRAINER_FILE),
    Text(
        GRPO,
        (
            '"prompt_ids"', '"completion_ids"', '"completion_mask"', '"num_items_in_batch"',
            '"sampling/sampling_logp_difference/mean"', "generate_inputs[k] = v", "self._step %",
        ),
        f"{TRAINER_FILE}, resampling.py and batch.py, which read and exchange rows of a batch",
    ),
    Text(GRPO, ('"ref"',), "affectllm/training/spread.py, which knows the reference adapter by this name"),
    Text(DPO, ('"ref"',), "affectllm/training/spread.py, which knows the reference adapter by this name"),
    Text(SFT, ('"skip_prepare_dataset"', "log_probs"), "train/sft.py and affectllm/training/sft.py"),
    Attributes(SFT, ("_metrics",), "affectllm/training/sft.py"),
    Text(REWARD, ("num_labels", ".logits"), "affectllm/training/reward_model.py"),
    Method(
        "trl.trainer.utils:RepeatSampler",
        ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed"),
        f"{ROOM}/batch.py, which makes an EpochSampler of it",
    ),
    Attributes(
        "trl.trainer.utils:RepeatSampler",
        ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed", "generator"),
        f"{ROOM}/batch.py",
    ),
    Names("trl.trainer.utils:FusedCausalLMOutput", ("log_probs", "entropy", "aux_loss"), ROWS_FILE),
    Text("trl.trainer.utils:add_fused_lm_head", ("fused_lm_head=False", "shift_labels=None"), FUSED),
    Text("trl.trainer.utils:add_fused_lm_head", ("compact = _use_triton(",), "affectllm/training/seam.py"),
    Method("trl.trainer.utils:_use_triton", ("device",), "affectllm/training/seam.py, which patches it"),
    Accepts(
        "peft:PeftModel.save_pretrained", ("selected_adapters", "save_embedding_layers"),
        "affectllm/training/run_folder.py and tuning.py",
    ),
    Accepts("peft:get_peft_model_state_dict", ("save_embedding_layers",), "affectllm/models/adapters.py"),
    Names("peft.utils:ModulesToSaveWrapper", ("forward",), "affectllm/training/tuning.py, by names of weights"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*OVERRIDDEN, *CALLED], ids=lambda row: f"{row.place} {type(row).__name__}")
def test_the_libraries_are_as_the_trainers_need_them(row: Row) -> None:
    change = row.change()
    assert change is None, change


def test_a_change_is_said_with_the_version_the_name_and_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def older(self, prompt_ids, images, multimodal_fields, has_tool_images=False): ...  # type: ignore[no-untyped-def]

    def newer(self, prompts, tools): ...  # type: ignore[no-untyped-def]

    monkeypatch.setattr(trl, "__version__", "1.99.0")
    monkeypatch.setattr(trl.GRPOTrainer, "_generate_single_turn", older)
    row = next(row for row in OVERRIDDEN if row.place.endswith("_generate_single_turn"))
    assert row.change() == (
        "trl 1.99.0: trl:GRPOTrainer._generate_single_turn lost parameter 'num_generations'; the override "
        "affectllm.training.grpo.trainer:ClipGRPOTrainer._generate_single_turn needs it."
    )
    monkeypatch.setattr(trl.GRPOTrainer, "_tokenize_prompts", newer)
    row = next(row for row in OVERRIDDEN if row.place.endswith("_tokenize_prompts"))
    assert row.change() == (
        "trl 1.99.0: trl:GRPOTrainer._tokenize_prompts has a new parameter 'tools', which the override "
        "affectllm.training.grpo.trainer:ClipGRPOTrainer._tokenize_prompts does not take."
    )
    monkeypatch.delattr(trl.GRPOTrainer, "_log_metric")
    row = next(row for row in CALLED if row.place.endswith("_log_metric"))  # type: ignore[assignment]
    assert row.change() == (
        "trl 1.99.0: trl:GRPOTrainer._log_metric is gone; affectllm/training/grpo/trainer.py needs it."
    )


def test_the_plan_counts_the_vocabulary_in_the_chunks_of_the_fused_head() -> None:
    assert trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE == HEAD_CHUNK


def test_every_override_has_a_row() -> None:
    """A method of ours that a library has too is in the table, or is not one of theirs."""
    listed = {row.ours for row in OVERRIDDEN}
    for place in OURS.values():
        module, _, name = place.partition(":")
        kind = getattr(importlib.import_module(module), name)
        stock = {theirs for base in kind.__mro__[1:-1] for theirs in vars(base)}
        for method in vars(kind):
            if method in stock and not (method.startswith("__") or method in ("_abc_impl", "_is_protocol")):
                assert f"{place}.{method}" in listed, f"{place}.{method} overrides a method and has no row"


def test_every_private_name_of_a_trainer_that_is_used_has_a_row() -> None:
    """A name that our classes do not define themselves is TRL's or transformers'."""
    for stock, place in OURS.items():
        module, _, name = place.partition(":")
        source = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text("utf-8"))
        (ours,) = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == name]
        named = [node for node in ast.walk(ours) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
        own = {node.name for node in ours.body if isinstance(node, ast.FunctionDef)}
        init = [node for node in ast.walk(ours) if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        made = {node.attr for it in init for node in ast.walk(it) if is_set(node)}
        used = {node.attr for node in named if ast.unparse(node.value) in ("self", "super()")} - own - made
        rows = [row for row in (*OVERRIDDEN, *CALLED) if row.place.partition(".")[0] == stock]
        listed = {row.place.rpartition(".")[2] for row in rows}
        listed |= {name for row in rows if isinstance(row, Attributes) for name in row.names}
        missing = {name for name in used if not name.startswith("__")} - listed
        assert not missing, f"{place} uses {', '.join(sorted(missing))} of {stock} without a row"


def is_set(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)


def test_a_cpu_scores_labels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_utils, "_use_triton", seam.compiles)
    assert not trl_utils._use_triton(torch.device("cpu"))
    seam.score_labels_only()
    seam.score_labels_only()
    assert trl_utils._use_triton(torch.device("cpu"))
    assert not trl_utils._use_triton(torch.device("meta"))
