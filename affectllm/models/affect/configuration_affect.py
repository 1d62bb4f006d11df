"""The numbers that describe a composed model: a language model with a face and a voice encoder in front of it."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig, WhisperConfig

# Log-energy mean, deviation, peak; log2 F0 mean, deviation, highest, lowest; voiced share; seconds; energy change.
# Round figures for read speech, so that the ten statistics reach the projector at about unit scale.
PROSODY_MEAN = [-4.0, 1.5, -1.8, 7.3, 0.25, 7.9, 6.8, 0.45, 2.5, 0.3]
PROSODY_SCALE = [1.0, 0.6, 0.7, 0.5, 0.15, 0.5, 0.5, 0.2, 1.2, 0.12]


class AffectConfig(PreTrainedConfig):
    """Configuration of `AffectForConditionalGeneration`.

    Tokens a clip costs in the prompt: `num_frames` face tokens, `voice_chunks + 1` voice tokens (the last is
    prosody) and `fusion_tokens` behind them, in which learned queries have looked at both.
    """

    model_type = "affectllm"
    sub_configs = {"text_config": AutoConfig, "audio_config": WhisperConfig}

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    audio_config: dict[str, Any] | PreTrainedConfig | None = None
    audio_layers: int = 2
    """Whisper layers run: vocal emotion reads best from an early layer, later ones turn into text."""
    num_frames: int = 8
    face_size: int = 2048
    """Values of one face: mini-XCEPTION's 4 x 4 x 128 map."""
    voice_chunks: int = 8
    """Equal slices of the clip's time; each gives mean and deviation of the encoder's states."""
    fusion_size: int = 256
    fusion_heads: int = 4
    fusion_tokens: int = 4
    token_scale: float = 0.1
    """Spread of the language model's own word embeddings, at which media tokens start."""
    prosody_mean: list[float] | None = None
    prosody_scale: list[float] | None = None
    face_token_id: int = 0
    voice_token_id: int = 1
    fusion_token_id: int = 2
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if self.text_config is None:
            self.text_config = AutoConfig.for_model("llama")
        elif isinstance(self.text_config, dict):
            self.text_config = AutoConfig.for_model(**self.text_config)
        if self.audio_config is None:
            self.audio_config = WhisperConfig()
        elif isinstance(self.audio_config, dict):
            self.audio_config = WhisperConfig(**self.audio_config)
        self.prosody_mean = self.prosody_mean or PROSODY_MEAN
        self.prosody_scale = self.prosody_scale or PROSODY_SCALE
        super().__post_init__(**kwargs)

    @property
    def media_token_ids(self) -> list[int]:
        """Placeholders that stand for media in `input_ids` and must never be sampled."""
        return [self.face_token_id, self.voice_token_id, self.fusion_token_id]
