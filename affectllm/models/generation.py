"""Answers from prompts and media: one implementation for evaluation, explanation and demo."""

from collections.abc import Sequence

import torch

from affectllm.models.backbone import Backbone, Sample, join_media


@torch.inference_mode()
def generate(
    backbone: Backbone, samples: Sequence[Sample], max_new_tokens: int, temperature: float = 0.0
) -> tuple[list[str], list[int]]:
    """The answer text and its number of tokens for each sample, in order; temperature 0 is greedy."""
    device = backbone.model.device
    longest = max(len(sample.prompt_ids) for sample in samples)
    pad_id = backbone.tokenizer.pad_token_id
    ids = torch.tensor([[pad_id] * (longest - len(s.prompt_ids)) + s.prompt_ids for s in samples], device=device)
    mask = torch.tensor([[0] * (longest - len(s.prompt_ids)) + [1] * len(s.prompt_ids) for s in samples], device=device)
    media = {name: tensor.to(device) for name, tensor in join_media(samples).items()}
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature
        else {"do_sample": False}
    )
    output = backbone.model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad_id,
        eos_token_id=backbone.tokenizer.eos_token_id,
        **media,
        **sampling,
        **backbone.suppressed(),
    )[:, longest:]
    texts = backbone.tokenizer.batch_decode(output, skip_special_tokens=True)
    return texts, [int((row != pad_id).sum()) for row in output]


@torch.inference_mode()
def answer_log_probability(backbone: Backbone, sample: Sample, answer: str) -> float:
    """Mean log-probability, in nats per token, that the model gives to an answer behind this prompt."""
    device = backbone.model.device
    answer_ids = backbone.answer_ids(answer)
    ids = torch.tensor([[*sample.prompt_ids, *answer_ids]], device=device)
    media = {name: tensor.to(device) for name, tensor in sample.media.items()}
    logits = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), **media).logits[
        0, len(sample.prompt_ids) - 1 : -1
    ]
    chosen = logits.float().log_softmax(-1).gather(1, ids[0, len(sample.prompt_ids) :, None])
    return float(chosen.mean())
