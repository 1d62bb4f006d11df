"""Log-probabilities of completions, with the clip and prompt of each: shared by a group, or row by row."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from affectllm.models.base.backbone import Sample
from affectllm.models.base.generation import left_padded
from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from affectllm.training.grpo.exact import ExactCheck
from affectllm.training.grpo.rows import Scores, score_rows
from affectllm.training.grpo.shared import SharedForward, obstacle

if TYPE_CHECKING:
    from accelerate import Accelerator


class LogProbs:
    """Forwards that score completions. `step` "shared" reads each prompt once if the model allows it; "rows" does not.

    With `check_exact` the first batch that has something to compare is scored both ways. `spread` says that parts of
    the weights are on several processes.
    """

    def __init__(
        self, store: MediaStore, accelerator: "Accelerator", step: str, check_exact: bool, spread: bool
    ) -> None:
        self.accelerator = accelerator
        self.pad_id = store.backbone.tokenizer.pad_token_id
        reason = obstacle(store.backbone) if step == "shared" else None
        if reason:
            print(f"The step goes row by row: {store.backbone.name} cannot share prompts, {reason}.", file=sys.stderr)
        self.shared = SharedForward(store.backbone) if step == "shared" and not reason else None
        self.exact = ExactCheck(store, accelerator, spread) if check_exact and self.shared else None

    def note(self, sample: Sample, conversation: Conversation) -> None:
        """Remember whose sample this is, for the check."""
        if self.exact:
            self.exact.note(sample, conversation)

    def score(
        self,
        model: nn.Module,
        samples: Sequence[Sample],
        ids: Tensor,
        mask: Tensor,
        keep: int,
        batch_size: int | None = None,
        router: bool = False,
    ) -> Scores:
        """Scores of the last `keep` tokens of each row (rows, prompt + keep), `batch_size` rows at a time."""
        step = batch_size or len(ids)
        parts = []
        for start in range(0, len(ids), step):
            rows = slice(start, start + step)
            parts.append(self._score(model, samples[rows], ids[rows], mask[rows], keep, router))
        entropies = [part.entropies for part in parts if part.entropies is not None]
        auxiliary = [part.auxiliary for part in parts if part.auxiliary is not None]
        return Scores(
            torch.cat([part.log_probs for part in parts]),
            torch.cat(entropies) if entropies else None,
            torch.stack(auxiliary).mean() if router else None,
        )

    def _score(
        self, model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, router: bool
    ) -> Scores:
        # The router's balance is a mean over tokens: it would differ if a prompt counted only once.
        if self.shared is None or router:
            return self.score_each(model, samples, ids, mask, keep, router)
        if self.exact:
            self.exact.check(model, samples, ids, mask, keep)
        with self.accelerator.autocast():
            return Scores(*self.shared.score(model, samples, ids[:, -keep:], mask[:, -keep:]), None)

    def score_each(
        self, model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, router: bool = False
    ) -> Scores:
        """The same, row by row: each row reads its own clip and prompt."""
        with self.accelerator.autocast():
            return score_rows(model, samples, ids, mask, keep, router)

    def score_answers(self, model: nn.Module, samples: Sequence[Sample], answers: Tensor, valid: Tensor) -> Tensor:
        """Log-probabilities (rows, tokens) of answers to these prompts; `valid` is 1 on their tokens."""
        if self.shared:
            with self.accelerator.autocast():
                return self.shared.score(model, samples, answers, valid)[0]
        prompts, asked = left_padded(samples, self.pad_id)
        ids = torch.cat([prompts.to(answers.device), answers], 1)
        mask = torch.cat([asked.to(valid.device), valid], 1)
        return self.score_each(model, samples, ids, mask, answers.shape[1]).log_probs
