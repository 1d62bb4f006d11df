"""Answers from prompts and media: one implementation for evaluation, explanation and demo."""

from collections.abc import Sequence

import torch
from torch import Tensor

from affectllm.models.base.backbone import Backbone, Sample, join_media

ANSWERS = 8
"""Number of answers per forward when their likelihood is asked for."""


@torch.inference_mode()
def generate(
    backbone: Backbone, samples: Sequence[Sample], max_new_tokens: int, temperature: float = 0.0
) -> tuple[list[str], list[int]]:
    """The answer text and its number of tokens for each sample, in order; temperature 0 is greedy."""
    device = backbone.model.device
    pad_id = backbone.tokenizer.pad_token_id
    ids, mask = (tensor.to(device) for tensor in left_padded(samples, pad_id))
    media = {name: tensor.to(device) for name, tensor in join_media(samples).items()}
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature
        else {"do_sample": False}
    )
    with backbone.computing():
        output = backbone.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=pad_id,
            eos_token_id=backbone.tokenizer.eos_token_id,
            **media,
            **sampling,
            **backbone.suppressed(),
        )[:, ids.shape[1] :]
    texts = backbone.tokenizer.batch_decode(output, skip_special_tokens=True)
    return texts, [int((row != pad_id).sum()) for row in output]


def left_padded(samples: Sequence[Sample], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompts (B, P) that end together, and 1 on their tokens."""
    longest = max(len(sample.prompt_ids) for sample in samples)
    padding = [longest - len(sample.prompt_ids) for sample in samples]
    ids = [[pad_id] * gap + sample.prompt_ids for gap, sample in zip(padding, samples, strict=True)]
    return torch.tensor(ids), (torch.arange(longest) >= torch.tensor(padding)[:, None]).long()


@torch.inference_mode()
def answer_log_probabilities(
    backbone: Backbone, samples: Sequence[Sample], answers: Sequence[Sequence[int]]
) -> list[float]:
    """Mean log-probability, in nats per token, that the model gives to each answer (token ids) after its prompt."""
    device, values = backbone.model.device, list[float]()
    for start in range(0, len(samples), ANSWERS):
        rows = list(zip(samples[start : start + ANSWERS], answers[start : start + ANSWERS], strict=True))
        longest = max(len(sample.prompt_ids) + len(answer) for sample, answer in rows)
        # Padding is on the left, as in generation, so that all answers end together.
        padding = [longest - len(sample.prompt_ids) - len(answer) for sample, answer in rows]
        ids = torch.tensor(
            [
                [backbone.tokenizer.pad_token_id] * pad + [*sample.prompt_ids, *answer]
                for pad, (sample, answer) in zip(padding, rows, strict=True)
            ],
            device=device,
        )
        mask = (torch.arange(longest) >= torch.tensor(padding)[:, None]).long().to(device)
        media = {name: tensor.to(device) for name, tensor in join_media([sample for sample, _ in rows]).items()}
        most = max(len(answer) for _, answer in rows)
        with backbone.computing():
            logits = backbone.model(input_ids=ids, attention_mask=mask, **media).logits[:, -most - 1 : -1].float()
        chosen = logits.log_softmax(-1).gather(2, ids[:, -most:, None])[..., 0]
        values += [float(row[-len(answer) :].mean()) for row, (_, answer) in zip(chosen, rows, strict=True)]
    return values
