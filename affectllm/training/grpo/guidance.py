"""Uses annotated answers in addition to sampled ones: replayed in groups, or learnt as in the supervised stage.

Both keep a policy near what people wrote if its own samples are not good. Replay puts the annotated
answer among a group's completions, where it is compared with the samples (off-policy guidance, as in LUFFY, arXiv
2504.14945, without its shaping of the ratio); mixing adds the supervised loss on a step's clips to GRPO's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from affectllm.models.base.backbone import Backbone, Sample
from affectllm.records import Conversation
from affectllm.training.collator import answer_of, pad
from affectllm.training.grpo.batch import group_rows


class Guidance:
    """What was annotated for the clips of a step.

    `replay` is the number of completions of each group that are the annotated answer, `weight` is the weight of the
    supervised loss.
    """

    def __init__(self, backbone: Backbone, replay: int, weight: float) -> None:
        self.backbone = backbone
        self.replay = replay
        self.weight = weight
        self.replayed: list[bool] = []
        """Which of the last generated completions are annotated answers."""
        self._answers: dict[int, tuple[Sample, list[int]]] = {}

    def note(self, sample: Sample, conversation: Conversation) -> None:
        """Remember the annotated answer to a question, if it has one."""
        if (self.replay or self.weight) and conversation.messages[-1].role == "assistant":
            self._answers[id(sample)] = (sample, self.backbone.answer_ids(answer_of(conversation)))

    def forget(self, kept: Sequence[Sample]) -> None:
        """Drop all answers except those to `kept`."""
        ids = {id(sample) for sample in kept}
        self._answers = {key: value for key, value in self._answers.items() if key in ids}

    def answer(self, sample: Sample) -> list[int]:
        """Token ids of the annotated answer, empty where there is none."""
        return self._answers.get(id(sample), (sample, []))[1]

    def replay_answers(
        self,
        samples: Sequence[Sample],
        completions: list[list[int]],
        log_probs: list[list[float | None]] | None,
        longest: int,
    ) -> None:
        """The last completions of each group become its annotated answer, if that has at most `longest` tokens.

        It was not sampled, so its log-probabilities become None: TRL then does not correct for the sampler.
        """
        self.replayed = [False] * len(completions)
        for sample, members in zip(*group_rows(samples)[:2], strict=True):
            answer = self.answer(sample)
            for row in members[len(members) - self.replay :] if 0 < len(answer) <= longest else []:
                completions[row] = list(answer)
                self.replayed[row] = True
                if log_probs is not None:
                    log_probs[row] = [None] * len(answer)

    def supervised(
        self,
        samples: Sequence[Sample],
        score: Callable[[Sequence[Sample], Tensor, Tensor], Tensor],
        device: torch.device,
    ) -> Tensor | None:
        """The supervised loss on the annotated answers to these prompts. None if no prompt has one.

        `score` gives log-probabilities (clips, tokens) of answers to prompts; its last argument is 1 on their tokens.
        """
        found, answers, valid = self.annotated(samples)
        if not found:
            return None
        answers, valid = answers.to(device), valid.to(device)
        return supervised_loss(score(found, answers, valid), valid)

    def annotated(self, samples: Sequence[Sample]) -> tuple[list[Sample], Tensor, Tensor]:
        """Each clip with an annotated answer once; answers (clips, tokens) padded at the end; 1 on their tokens."""
        found = [sample for sample in group_rows(samples).samples if self.answer(sample)]
        answers = [self.answer(sample) for sample in found]
        return found, pad(answers, self.backbone.tokenizer.pad_token_id), pad([[1] * len(row) for row in answers], 0)


def supervised_loss(log_probs: Tensor, valid: Tensor) -> Tensor:
    """Mean cross-entropy over the tokens of annotated answers: both (clips, tokens)."""
    return -torch.where(valid.bool(), log_probs, 0.0).sum() / valid.sum()
