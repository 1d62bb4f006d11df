"""AffectGPT's pre-fusion (arXiv 2501.16566, section 4), as an alternative to the fusion of modeling_affect.py.

Each modality is pooled to its own tokens, and the modalities are fused in multimodal tokens before the language model:

  attention          weighted sums whose weights are a linear map of the features, without softmax (AffectGPT's code)
  attention_softmax  the same with softmax over what is summed
  qformer            learned queries after two layers of self- and cross-attention
  none               features as they are, a token each, and no multimodal tokens
  affectgpt          AffectGPT's own modules, one token of each kind: what its published weights fit into (affectgpt.py)

Different from AffectGPT, but for the last: any number of tokens rather than one, and tokens brought to the scale of
word embeddings by a norm. Rows that lack a modality are allowed in all.

Shapes: N clips, B rows, T features of a modality, H the fusion width, D the language model's.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

KINDS = ("attention", "attention_softmax", "qformer", "none", "affectgpt")


Tokens = tuple[Tensor | None, Tensor | None, Tensor | None]


def in_own_precision(forward: Callable[..., Tokens]) -> Callable[..., Tokens]:
    """A fusion's forward in the precision of its weights, whatever its features and the rest of the model are in.

    Its weights are float32 unless FSDP lends them in half precision.
    """

    @wraps(forward)
    def cast(
        self: nn.Module,
        face: Tensor | None,
        voice: Tensor | None,
        prosody: Tensor | None,
        has_face: Tensor,
        has_voice: Tensor,
    ) -> Tokens:
        own = next(self.parameters()).dtype
        features = [None if tensor is None else tensor.to(own) for tensor in (face, voice, prosody)]
        with torch.autocast(has_face.device.type, enabled=False):
            return forward(self, *features, has_face, has_voice)

    return cast


class WeightedSum(nn.Module):
    """(N, T, H) -> (N, tokens, H): each token is a sum of features, weighted by a linear map of the features."""

    def __init__(self, width: int, tokens: int, softmax: bool) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, tokens)
        self.softmax = softmax

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """`present` (N, T) is False where a row has no feature."""
        weights = weigh(self.weigh(features), present[..., None], self.softmax)
        return torch.einsum("nth,ntk->nkh", features, weights)


def weigh(scores: Tensor, present: Tensor, softmax: bool) -> Tensor:
    """Scores as weights over dimension 1. Absent features have weight 0."""
    if softmax:
        return scores.masked_fill(~present, float("-inf")).softmax(1)
    return scores * present


class QFormer(nn.Module):
    """(N, T, H) -> (N, tokens, H): learned queries that look at each other and at the features, twice."""

    def __init__(self, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(tokens, width))
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True)
        self.layers = nn.TransformerDecoder(layer, 2)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        queries = self.queries.expand(len(features), -1, -1)
        return self.layers(queries, features, memory_key_padding_mask=~present)


class PreFusion(nn.Module):
    """Media features in, tokens at the scale of the language model's word embeddings out; see `Fusion`."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        H, D = config.fusion_size, config.text_config.hidden_size
        self.kind = config.fusion
        self.tokens = config.fusion_tokens
        self.face = nn.Linear(config.face_size, H)
        self.voice = nn.Linear(config.voice_size, H)
        softmax = self.kind == "attention_softmax"
        if self.kind == "qformer":
            self.pool_face: nn.Module = QFormer(H, config.face_tokens, config.fusion_heads)
            self.pool_voice: nn.Module = QFormer(H, config.voice_tokens, config.fusion_heads)
            self.meet: nn.Module = QFormer(H, self.tokens, config.fusion_heads)
        elif self.kind != "none":
            self.pool_face = WeightedSum(H, config.face_tokens, softmax)
            self.pool_voice = WeightedSum(H, config.voice_tokens, softmax)
            self.mix = nn.Linear(2 * H, H)
            self.share = nn.Linear(H, 2 * self.tokens)
            self.softmax = softmax
        self.out = nn.Linear(H, D)
        self.out_norm = nn.LayerNorm(D)
        self.scale = nn.Parameter(torch.tensor(config.token_scale))

    @in_own_precision
    def forward(
        self, face: Tensor | None, voice: Tensor | None, prosody: Tensor | None, has_face: Tensor, has_voice: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Tokens of faces (N_face, n, D), of voices (N_voice, n, D) and of both (N_media, n, D); see `Fusion`."""
        face = None if face is None else self.face(face)
        voice = None if voice is None else self.voice(voice)
        if self.kind == "none":
            return self.emit(face), self.emit(voice), None
        any_media = has_face | has_voice
        parts = [(face, has_face), (voice, has_voice)]
        if self.kind == "qformer":
            laid = [(spread(x, rows), rows[:, None].expand(-1, x.shape[1])) for x, rows in parts if x is not None]
            features = torch.cat([x for x, _ in laid], dim=1)[any_media]
            met = self.meet(features, torch.cat([present for _, present in laid], dim=1)[any_media])
        else:
            means = [
                torch.zeros(len(rows), self.mix.out_features, device=rows.device, dtype=self.mix.weight.dtype)
                if x is None
                else spread(x.mean(1), rows)
                for x, rows in parts
            ]
            met = self.sum_of_both(
                torch.stack(means, dim=1)[any_media], torch.stack([has_face, has_voice], 1)[any_media]
            )
        return (
            None if face is None else self.emit(self.pool_face(face, torch.ones_like(face[..., 0], dtype=torch.bool))),
            None
            if voice is None
            else self.emit(self.pool_voice(voice, torch.ones_like(voice[..., 0], dtype=torch.bool))),
            self.emit(met),
        )

    def sum_of_both(self, means: Tensor, present: Tensor) -> Tensor:
        """Mean face and voice (N, 2, H) -> multimodal tokens (N, tokens, H), each a weighted sum of the two."""
        scores = self.share(self.mix(means.flatten(1))).view(len(means), 2, self.tokens)
        return torch.einsum("nmh,nmk->nkh", means, weigh(scores, present[..., None], self.softmax))

    def emit(self, tokens: Tensor | None) -> Tensor | None:
        return None if tokens is None else self.out_norm(self.out(tokens)) * self.scale


class AffectGPTFusion(nn.Module):
    """AffectGPT's attention fusion as published: one token of the face, one of the voice, one in which both are fused.

    A token is a sum of features, weighted by a linear map of the features, without softmax. Of the voice's slices it
    takes the means alone, as AffectGPT has no deviations.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        F, V, H, D = config.face_size, config.voice_size // 2, config.fusion_size, config.text_config.hidden_size
        self.weigh_face, self.weigh_voice = nn.Linear(F, 1), nn.Linear(V, 1)
        self.face_out, self.voice_out = nn.Linear(F, D), nn.Linear(V, D)
        self.meet_face, self.meet_voice = nn.Linear(F, H), nn.Linear(V, H)
        self.mix, self.share = nn.Linear(2 * H, H), nn.Linear(H, 2)
        self.both_out = nn.Linear(H, D)

    @in_own_precision
    def forward(
        self, face: Tensor | None, voice: Tensor | None, prosody: Tensor | None, has_face: Tensor, has_voice: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """One token a row: of faces (N_face, 1, D), of voices (N_voice, 1, D), of both (N_media, 1, D)."""
        voice = None if voice is None else voice[..., : self.weigh_voice.in_features]
        parts = [(face, has_face, self.meet_face), (voice, has_voice, self.meet_voice)]
        means = [
            self.mix.weight.new_zeros(len(rows), self.share.in_features) if x is None else spread(meet(x.mean(1)), rows)
            for x, rows, meet in parts
        ]
        any_media = has_face | has_voice
        met = torch.stack(means, 1)[any_media]
        weights = self.share(self.mix(met.flatten(1))) * torch.stack([has_face, has_voice], 1)[any_media]
        return (
            None if face is None else self.face_out(torch.einsum("nth,nto->noh", face, self.weigh_face(face))),
            None if voice is None else self.voice_out(torch.einsum("nth,nto->noh", voice, self.weigh_voice(voice))),
            self.both_out(torch.einsum("nmh,nm->nh", met, weights))[:, None],
        )


def spread(features: Tensor, rows: Tensor) -> Tensor:
    """Features of some rows placed into a tensor of all rows, zeros elsewhere."""
    laid = features.new_zeros(rows.shape[0], *features.shape[1:])
    laid[rows] = features
    return laid
