"""The numbers that describe a composed model: a language model with a face and a voice encoder in front of it."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig, WhisperConfig

from affectllm.errors import AffectError
from affectllm.models.families.affect.encoders import IMAGE_TOWERS, SPEECH_ENCODERS, image_width
from affectllm.models.families.affect.prefusion import KINDS

# Log-energy mean, deviation, peak; log2 F0 mean, deviation, highest, lowest; voiced share; seconds; energy change.
# Round figures for read speech, so that the ten statistics reach the projector at about unit scale.
PROSODY_MEAN = [-4.0, 1.5, -1.8, 7.3, 0.25, 7.9, 6.8, 0.45, 2.5, 0.3]
PROSODY_SCALE = [1.0, 0.6, 0.7, 0.5, 0.15, 0.5, 0.5, 0.2, 1.2, 0.12]


class AffectConfig(PreTrainedConfig):
    """Configuration of `AffectForConditionalGeneration`.

    Tokens of a clip in the prompt: `face_tokens`, `voice_tokens`, and after them `fusion_tokens`, in which both are
    fused. With the fusion "queries" a frame is a token, each of `voice_chunks` slices is one, and prosody one more.
    """

    model_type = "affectllm"
    sub_configs = {"text_config": AutoConfig, "audio_config": AutoConfig, "vision_config": AutoConfig}

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    audio_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    """None for the face-expression network on face crops; else a CLIP, SigLIP or DINOv2 tower on whole frames."""
    audio_layers: int = 2
    """Number of layers. Of Whisper only the first ones are run: vocal emotion is read best from an early layer, later
    ones turn into text. Of HuBERT and WavLM the mean of the last ones is taken."""
    fusion: str = "queries"
    """How modalities are fused: queries (see `Fusion`), attention, attention_softmax, qformer, none, affectgpt (see
    prefusion.py)."""
    num_frames: int = 8
    face_size: int = 2048
    """Number of values of one face: mini-XCEPTION's 4 x 4 x 128 map; an image tower sets it."""
    face_tokens: int = 0
    """Tokens of a clip's frames. 0 is one per frame, which the fusions queries and none always give."""
    voice_tokens: int = 0
    """Tokens of a clip's voice. 0 is one per slice, and one more of prosody with the fusion queries."""
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
            self.audio_config = AutoConfig.for_model(**{"model_type": "whisper", **self.audio_config})
        if isinstance(self.vision_config, dict):
            self.vision_config = AutoConfig.for_model(**self.vision_config)
        if self.vision_config is not None:
            self.face_size = image_width(self.vision_config)
        if self.fusion == "affectgpt":
            self.face_tokens = self.voice_tokens = self.fusion_tokens = 1
            self.fusion_size = max(self.face_size, self.voice_size // 2)
        self.check_parts()
        queries = self.fusion == "queries"
        self.face_tokens = self.face_tokens or self.num_frames
        self.voice_tokens = self.voice_tokens or self.voice_chunks + queries
        self.prosody_mean = self.prosody_mean or PROSODY_MEAN
        self.prosody_scale = self.prosody_scale or PROSODY_SCALE
        super().__post_init__(**kwargs)

    @property
    def media_token_ids(self) -> list[int]:
        """Placeholders of media in `input_ids`. They must never be sampled."""
        return [self.face_token_id, self.voice_token_id, self.fusion_token_id]

    @property
    def voice_size(self) -> int:
        """Number of values of one slice of audio: mean and deviation of the encoder's states."""
        return 2 * getattr(self.audio_config, "d_model", self.audio_config.hidden_size)

    def check_parts(self) -> None:
        for part, known in ((self.vision_config, IMAGE_TOWERS), (self.audio_config, SPEECH_ENCODERS)):
            if part is not None and part.model_type not in known:
                raise AffectError(f"No encoder of the kind '{part.model_type}'. Known: {', '.join(known)}.")
        if self.audio_config.model_type == "whisper" and self.audio_config.num_mel_bins != 80:
            raise AffectError(f"A Whisper of {self.audio_config.num_mel_bins} mel bands is not read here, only of 80.")
        if self.fusion not in ("queries", *KINDS):
            raise AffectError(f"No fusion '{self.fusion}'. Known: queries, {', '.join(KINDS)}.")
        pooled = self.fusion not in ("queries", "none")
        given = self.face_tokens not in (0, self.num_frames) or self.voice_tokens not in (
            0,
            self.voice_chunks + (self.fusion == "queries"),
        )
        if given and not pooled:
            raise AffectError(
                f"The fusion '{self.fusion}' pools nothing: it gives {self.num_frames} face tokens, one a frame. "
                "Leave face_tokens and voice_tokens out, or take attention or qformer."
            )
        if self.fusion == "none" and self.fusion_tokens:
            raise AffectError("The fusion 'none' has no multimodal tokens: set fusion_tokens to 0.")
