"""Scores on held-out clips while a run trains, computed by the evaluator on greedy answers."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.records import Answer, Conversation
from affectllm.training.callbacks import append, cut_after
from affectllm.training.options import HeldOut
from affectllm.training.spread import is_spread

if TYPE_CHECKING:
    from transformers import Trainer

    from affectllm.models.base.backbone import Backbone
    from affectllm.models.store import MediaStore

DEV, BEST, LAST = "dev.jsonl", "best", "last"
BATCH = 16


class DevScore(TrainerCallback):
    """Appends the score of every `every` steps to `dev.jsonl`, and keeps the best weights in `best/`.

    After `patience` scores without a better one the run stops. 0 never stops it. Labels (`set_f1`) decide. The clue
    scores are written too, since a policy can buy labels with reasoning that nobody saw in the clip.
    """

    def __init__(
        self,
        store: "MediaStore",
        conversations: Sequence[Conversation],
        folder: Path,
        every: int,
        patience: int,
        max_new_tokens: int,
    ) -> None:
        self.store = store
        self.conversations = conversations
        self.folder = folder
        self.every = every
        self.patience = patience
        self.max_new_tokens = max_new_tokens

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            # A run without a checkpoint begins anew, with the score of its start.
            cut_after(self.folder / DEV, state.global_step or -1)
        if state.global_step == 0:
            self._score(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        self._score(state)
        rows = list(jsonl.read_dicts(self.folder / DEV))
        since = rows[-1]["step"] - best_of(rows)["step"]
        if self.patience and since >= self.patience * self.every:
            best = best_of(rows)
            print(
                f"Stopped at step {state.global_step}: no dev score above {best['set_f1']:.3f} since step "
                f"{best['step']}.",
                file=sys.stderr,
            )
            control.should_training_stop = True

    def _score(self, state: TrainerState) -> None:
        """Every process answers, since sharded weights need all processes. One of them writes."""
        line = {"step": state.global_step, **score(self.store, self.conversations, self.max_new_tokens)}
        if not state.is_world_process_zero:
            return
        append(self.folder / DEV, [line])
        print(f"Dev score at step {state.global_step}: set F1 {line['set_f1']:.3f}", file=sys.stderr, flush=True)
        if best_of(list(jsonl.read_dicts(self.folder / DEV)))["step"] == line["step"]:
            write_weights(self.store.backbone, self.folder / BEST)
            jsonl.write_json(self.folder / BEST / "dev.json", line)


def score(store: "MediaStore", conversations: Sequence[Conversation], max_new_tokens: int) -> dict[str, Any]:
    """Set F1 with its interval, clue scores, labels a clip and the share of answers that parse.

    A clip that cannot be read counts as an empty answer, as in `eval predict`.
    """
    from affectllm import vocabulary
    from affectllm.models.base.generation import generate
    from affectllm.scores.summary import summarise

    backbone = store.backbone
    training = backbone.model.training
    backbone.model.eval()
    texts: dict[str, str] = {}
    samples = []
    for conversation in conversations:
        try:
            samples.append((conversation.id, store.sample(conversation)))
        except AffectError as error:
            print(f"Dev clip '{conversation.id}' counts as unanswered: {error}", file=sys.stderr)
    for start in range(0, len(samples), BATCH):
        names, batch = zip(*samples[start : start + BATCH], strict=True)
        texts |= dict(zip(names, generate(backbone, batch, max_new_tokens)[0], strict=True))
    backbone.model.train(training)
    said = [
        Answer(
            id=clip.id, text=texts.get(clip.id, ""), model=backbone.name, seconds=0.0, tokens=0, prompt_hash="",
            error=None if clip.id in texts else "the clip cannot be read",
        )
        for clip in conversations
    ]  # fmt: skip
    found = summarise(said, conversations, vocabulary.load("affectllm-1")).results
    kept = {name: found[name] for name in ("clue_face", "clue_voice", "labels_per_clip")}
    interval = {name: found["set_f1"][name] for name in ("low", "high")}
    parsed = 1 - found["parse_failures"] / len(said)
    return {"set_f1": found["set_f1"]["value"], **interval, **kept, "parse_rate": parsed, "n": found["n"]}


def score_held_out(
    trainer: "Trainer",
    store: "MediaStore",
    conversations: Sequence[Conversation],
    folder: Path,
    options: HeldOut,
    max_new_tokens: int,
) -> None:
    """Make a trainer score these conversations as it trains. Raises AffectError if that would be too slow."""
    if is_spread(trainer):
        raise AffectError(
            "--dev-every generates answers, which weights spread over processes do too slowly. Leave it out."
        )
    trainer.add_callback(DevScore(store, conversations, folder, options.dev_every, options.patience, max_new_tokens))


def best_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first of the highest scores.

    >>> best_of([{"step": 0, "set_f1": 0.2}, {"step": 5, "set_f1": 0.3}, {"step": 10, "set_f1": 0.3}])["step"]
    5
    """
    return max(rows, key=lambda row: (row["set_f1"], -row["step"]))


def take_best(backbone: "Backbone", folder: Path, writes: bool = True) -> None:
    """Put the weights of the best dev score back into the model. The last ones are kept in `last/`.

    One process of several `writes`.
    """
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file

    if writes:
        write_weights(backbone, folder / LAST)
    best = json.loads((folder / BEST / "dev.json").read_text("utf-8"))
    if isinstance(backbone.model, PeftModel):
        set_peft_model_state_dict(backbone.model, load_file(folder / BEST / "adapter_model.safetensors"))
    else:
        backbone.model.load_state_dict(type(backbone.model).from_pretrained(folder / BEST).state_dict())
    if writes:
        print(f"Wrote weights of step {best['step']}, dev set F1 {best['set_f1']:.3f}; the last ones are in {LAST}/")


def write_weights(backbone: "Backbone", folder: Path) -> None:
    """Write the adapter, or, if the model itself learns, the whole model with its processor."""
    if hasattr(backbone.model, "peft_config"):
        backbone.model.save_pretrained(folder, selected_adapters=["default"])
    else:
        backbone.model.save_pretrained(folder)
        backbone.processor.save_pretrained(folder)
