"""A composed video-audio-text model: frozen face and voice encoders, trained fusion, any causal language model.

The idea is AffectGPT's (arXiv 2501.16566): the modalities are fused before the language model reads them.
Different here: fusion is a cross-attention of learned queries over all media tokens rather than a weighted
sum to one token, the unfused tokens stay in the prompt, and any subset of modalities is allowed.

Shapes: N clips, B rows, L prompt tokens, D the language model's width, H the fusion width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from affectllm.models.base import seam
from affectllm.models.families.affect.configuration_affect import AffectConfig
from affectllm.models.families.affect.encoders import ImageEncoder, SpeechEncoder
from affectllm.models.families.affect.face import FaceExpressionEncoder
from affectllm.models.families.affect.prefusion import AffectGPTFusion, PreFusion, QFormer, in_own_precision
from affectllm.models.families.affect.voice import VoiceEncoder, chunk_statistics

# What the encoders read, and what they return: a forward takes either.
RAW_MEDIA = ("face_pixels", "input_features", "feature_attention_mask")
ENCODED_MEDIA = ("face_features", "voice_features")
MEDIA = (*RAW_MEDIA, *ENCODED_MEDIA, "prosody")


class Fusion(nn.Module):
    """Media features in, tokens at the scale of the language model's word embeddings out."""

    def __init__(self, config: AffectConfig) -> None:
        super().__init__()
        H, D = config.fusion_size, config.text_config.hidden_size
        self.heads = config.fusion_heads
        self.face = projector(config.face_size, H)
        self.voice = projector(config.voice_size, H)
        self.prosody = nn.Sequential(nn.Linear(len(config.prosody_mean), H), nn.GELU())
        self.kind = nn.Parameter(torch.empty(3, H))
        self.queries = nn.Parameter(torch.empty(config.fusion_tokens, H))
        self.to_query, self.to_key, self.to_value, self.mix = (nn.Linear(H, H) for _ in range(4))
        self.norm = nn.LayerNorm(H)
        self.out = nn.Linear(H, D)
        self.out_norm = nn.LayerNorm(D)
        self.scale = nn.Parameter(torch.tensor(config.token_scale))
        self.register_buffer("prosody_mean", torch.tensor(config.prosody_mean))
        self.register_buffer("prosody_scale", torch.tensor(config.prosody_scale))

    prosody_mean: Tensor
    prosody_scale: Tensor

    @in_own_precision
    def forward(
        self, face: Tensor | None, voice: Tensor | None, prosody: Tensor | None, has_face: Tensor, has_voice: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Tokens of faces (N_face, T, D), of voices (N_voice, chunks + 1, D) and fused ones (N_media, Q, D).

        `has_face` and `has_voice` are (B,) and say which rows the N_face and N_voice features belong to, in order;
        rows with a face or a voice get fused tokens.
        """
        parts, masks = [], []
        if face is not None:
            face = self.face(face) + self.kind[0]
            parts.append(spread(face, has_face))
            masks.append(has_face[:, None].expand(-1, face.shape[1]))
        if voice is not None and prosody is not None:
            statistics = self.prosody(((prosody - self.prosody_mean) / self.prosody_scale).to(prosody.dtype))[:, None]
            voice = torch.cat([self.voice(voice) + self.kind[1], statistics + self.kind[2]], dim=1)
            parts.append(spread(voice, has_voice))
            masks.append(has_voice[:, None].expand(-1, voice.shape[1]))
        any_media = has_face | has_voice
        fused = self.attend(torch.cat(parts, dim=1)[any_media], torch.cat(masks, dim=1)[any_media])
        return self.emit(face), self.emit(voice), self.emit(fused)

    def attend(self, tokens: Tensor, present: Tensor) -> Tensor:
        """What the learned queries find in the media tokens of each row: (N_media, Q, H)."""
        N, H = tokens.shape[0], tokens.shape[-1]
        queries = self.queries.expand(N, -1, -1)

        def split(x: Tensor) -> Tensor:
            return x.view(N, -1, self.heads, H // self.heads).transpose(1, 2)

        found = F.scaled_dot_product_attention(
            split(self.to_query(queries)),
            split(self.to_key(tokens)),
            split(self.to_value(tokens)),
            present[:, None, None],
        )
        return self.norm(queries + self.mix(found.transpose(1, 2).reshape(N, -1, H)))

    def emit(self, tokens: Tensor | None) -> Tensor | None:
        return None if tokens is None else self.out_norm(self.out(tokens)) * self.scale


def dtype_of(module: nn.Module) -> torch.dtype:
    """The precision that a part of the model is stored in, and takes its inputs in."""
    return next(module.parameters()).dtype


def projector(size_in: int, size_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(size_in), nn.Linear(size_in, size_out), nn.GELU())


def spread(tokens: Tensor, rows: Tensor) -> Tensor:
    """(N, T, H) tokens laid into the rows they belong to: (B, T, H), zeros elsewhere."""
    laid = tokens.new_zeros(rows.shape[0], *tokens.shape[1:])
    laid[rows] = tokens
    return laid


class AffectPreTrainedModel(PreTrainedModel):
    config_class = AffectConfig
    base_model_prefix = "model"
    input_modalities = ["video", "audio", "text"]
    supports_gradient_checkpointing = True
    # It is small and trained, and reads statistics in their own units, which half precision would blur.
    _keep_in_fp32_modules_strict = ["fusion"]
    _no_split_modules = ["Fusion", "PreFusion", "AffectGPTFusion"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, QFormer):
            init.normal_(module.queries, std=0.1)
        if isinstance(module, PreFusion):
            init.constant_(module.scale, self.config.token_scale)
        if isinstance(module, Fusion):
            init.normal_(module.kind, std=0.02)
            init.normal_(module.queries, std=0.1)
            init.constant_(module.scale, self.config.token_scale)
            init.copy_(module.prosody_mean, torch.tensor(self.config.prosody_mean))
            init.copy_(module.prosody_scale, torch.tensor(self.config.prosody_scale))


class AffectModel(AffectPreTrainedModel):
    """Encoders, fusion and the language model's body: prompt and media in, hidden states out."""

    def __init__(self, config: AffectConfig) -> None:
        super().__init__(config)
        tower, audio = config.vision_config, config.audio_config
        self.face_encoder = FaceExpressionEncoder() if tower is None else ImageEncoder(tower)
        encoder = VoiceEncoder if audio.model_type == "whisper" else SpeechEncoder
        self.voice_encoder = encoder(audio, layers=config.audio_layers)
        kinds: dict[str, type[nn.Module]] = {"queries": Fusion, "affectgpt": AffectGPTFusion}
        self.fusion = kinds.get(config.fusion, PreFusion)(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def train(self, mode: bool = True) -> "AffectModel":
        super().train(mode)
        # The encoders are feature extractors here: their batch statistics never move.
        self.face_encoder.eval()
        self.voice_encoder.eval()
        return self

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    @torch.no_grad()
    def encode_media(
        self,
        face_pixels: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The frozen encoders' output. It is made once per clip and then passed to every forward.

        face_pixels (N, T, 64, 64) in [-1, 1], or (N, T, 3, S, S) -> face_features (N, T, values of one);
        input_features (N, mels, frames), or waves (N, samples), with their mask
        -> voice_features (N, chunks, 2 x width).
        """
        encoded = {}
        if face_pixels is not None:
            face_pixels = face_pixels.to(dtype_of(self.face_encoder))
            N, T = face_pixels.shape[:2]
            frames = face_pixels.flatten(0, 1)
            encoded["face_features"] = self.face_encoder(frames[:, None] if frames.ndim == 3 else frames).view(N, T, -1)
        if input_features is not None:
            input_features = input_features.to(dtype_of(self.voice_encoder))
            states, mask = self.voice_encoder(input_features, feature_attention_mask)
            encoded["voice_features"] = chunk_statistics(states, mask, chunks=self.config.voice_chunks)
        return encoded

    def embed(self, input_ids: Tensor, media: dict[str, Tensor | None]) -> Tensor:
        """Word embeddings (B, L, D) with media tokens in their placeholders.

        Raises ValueError when placeholders and media do not match: a clip must never be dropped silently.
        """
        embeds = self.get_input_embeddings()(input_ids)
        config = self.config
        tokens: dict[int, Tensor | None] = {
            config.face_token_id: None,
            config.voice_token_id: None,
            config.fusion_token_id: None,
        }
        if media["face_features"] is not None or media["voice_features"] is not None:
            fused = self.fusion(
                media["face_features"],
                media["voice_features"],
                media["prosody"],
                has_face=(input_ids == config.face_token_id).any(1),
                has_voice=(input_ids == config.voice_token_id).any(1),
            )
            tokens = dict(zip(tokens, fused, strict=True))
        for token_id, values in tokens.items():
            places = input_ids == token_id
            count = 0 if values is None else values.shape[0] * values.shape[1]
            if int(places.sum()) != count:
                name = {config.face_token_id: "face", config.voice_token_id: "voice"}.get(token_id, "fusion")
                raise ValueError(
                    f"The prompt has {int(places.sum())} {name} placeholders, the media give {count} tokens."
                )
            if values is not None:
                embeds = embeds.masked_scatter(places[..., None], values.to(embeds.dtype))
        return embeds

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        face_pixels: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        prosody: Tensor | None = None,
        face_features: Tensor | None = None,
        voice_features: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        if inputs_embeds is None:
            encoded = self.encode_media(face_pixels, input_features, feature_attention_mask)
            media = {"face_features": face_features, "voice_features": voice_features, "prosody": prosody, **encoded}
            inputs_embeds = self.embed(input_ids, media)
        return self.language_model(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, position_ids=position_ids, **kwargs
        )


class AffectForConditionalGeneration(AffectPreTrainedModel, GenerationMixin):
    """The composed model with its language head: `generate`, PEFT, TRL and the Auto classes take it like any other."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: AffectConfig) -> None:
        super().__init__(config)
        self.model = AffectModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def encode_media(self, **media: Tensor) -> dict[str, Tensor]:
        """See `AffectModel.encode_media`."""
        return self.model.encode_media(**media)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        face_pixels: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        prosody: Tensor | None = None,
        face_features: Tensor | None = None,
        voice_features: Tensor | None = None,
        cache: Cache | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        # `generate` looks in this signature for the name that its version gives the cache.
        known = past_key_values if cache is None else cache
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **{seam.CACHE: known},
            inputs_embeds=inputs_embeds,
            face_pixels=face_pixels,
            input_features=input_features,
            feature_attention_mask=feature_attention_mask,
            prosody=prosody,
            face_features=face_features,
            voice_features=voice_features,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{seam.CACHE: getattr(outputs, seam.CACHE)},
        )

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        inputs = super().prepare_inputs_for_generation(input_ids, is_first_iteration=is_first_iteration, **kwargs)
        # After the prompt the media are in the key-value cache; without a cache every step reads them again.
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in MEDIA:
                inputs.pop(name, None)
        return inputs
