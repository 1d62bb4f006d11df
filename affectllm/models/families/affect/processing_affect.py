"""From frames, audio and text to the tensors of `AffectForConditionalGeneration`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin, PreTrainedTokenizerBase, ProcessorMixin

from affectllm.media.audio import RATE_HZ
from affectllm.media.faces import FaceDetector, centre_box, crop_faces, square_around
from affectllm.models.families.affect.configuration_affect import AffectConfig
from affectllm.models.families.affect.encoders import SHORTEST, normalised
from affectllm.models.families.affect.voice import at_least, log_mel, prosody

FACE, VOICE, FUSION = "<|face|>", "<|voice|>", "<|fusion|>"
DETECTOR_FILE = "face_detector.safetensors"
# Line breaks are inside expressions: outside, "{%-" would remove them.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'video' -%}{{ '<|face|>' }}"
    "{%- elif part['type'] == 'audio' -%}{{ '<|voice|>' }}"
    "{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


class AffectFeatureExtractor(FeatureExtractionMixin):
    """Face crops, mel spectrogram and prosody of a clip.

    Without detector weights every crop is the centre of its frame. `image` {size, mean, std} gives whole frames in
    colour, as an image tower wants them, instead of grey faces; `waves` gives the wave instead of its spectrogram.
    """

    model_input_names = ["face_pixels", "input_features", "feature_attention_mask", "prosody"]

    def __init__(
        self,
        num_frames: int = 8,
        voice_chunks: int = 8,
        fusion_tokens: int = 4,
        rate_hz: int = RATE_HZ,
        face_tokens: int = 0,
        voice_tokens: int = 0,
        image: dict[str, Any] | None = None,
        waves: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # A folder saved without them is of the embedded model's kind: a token per frame and slice, and one of prosody.
        self.face_tokens = face_tokens or num_frames
        self.voice_tokens = voice_tokens or voice_chunks + 1
        self.image = image
        self.waves = waves
        self.num_frames = num_frames
        self.voice_chunks = voice_chunks
        self.fusion_tokens = fusion_tokens
        self.rate_hz = rate_hz
        self._detector: FaceDetector | None = None

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in super().to_dict().items() if key != "_detector"}

    @classmethod
    def of(cls, config: AffectConfig, image: dict[str, Any] | None = None) -> "AffectFeatureExtractor":
        """What a model of this config reads; `image` is needed when it has an image tower."""
        return cls(
            config.num_frames, config.voice_chunks, config.fusion_tokens, face_tokens=config.face_tokens,
            voice_tokens=config.voice_tokens, image=image, waves=config.audio_config.model_type != "whisper",
        )  # fmt: skip

    def frames(self, frames_THWC: np.ndarray) -> torch.Tensor:
        """`num_frames` evenly spaced frames for an image tower: (num_frames, 3, size, size), centre square."""
        from PIL import Image

        assert self.image is not None
        size = self.image["size"]
        picks = np.linspace(0, len(frames_THWC) - 1, self.num_frames).round().astype(int)
        squares = [square_around(centre_box(frame)) for frame in frames_THWC[picks]]
        made = [
            np.asarray(Image.fromarray(frame).crop(box).resize((size, size), Image.Resampling.BICUBIC))
            for frame, box in zip(frames_THWC[picks], squares, strict=True)
        ]
        mean, std = (torch.tensor(self.image[key])[:, None, None] for key in ("mean", "std"))
        return (torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float() / 255 - mean) / std

    def faces(self, frames_THWC: np.ndarray) -> torch.Tensor:
        """The face in `num_frames` evenly spaced frames: (num_frames, 64, 64) grey in [-1, 1]."""
        picks = np.linspace(0, len(frames_THWC) - 1, self.num_frames).round().astype(int)
        crops = crop_faces(frames_THWC[picks], self._detector)
        return torch.from_numpy(crops.pixels_THW).float() / 127.5 - 1

    def __call__(
        self, videos: Sequence[np.ndarray] | None = None, audio: Sequence[np.ndarray] | None = None
    ) -> BatchFeature:
        """Frames (T, H, W, 3) uint8 and waves (samples,) float32 at `rate_hz`, one entry a clip, as padded batches."""
        data: dict[str, torch.Tensor] = {}
        if videos:
            look = self.frames if self.image else self.faces
            data["face_pixels"] = torch.stack([look(frames) for frames in videos])
        if audio:
            mels = [wave_row(wave) if self.waves else torch.as_tensor(log_mel(wave)) for wave in audio]
            longest = max(mel.shape[-1] for mel in mels)
            data["input_features"] = torch.stack(
                [torch.nn.functional.pad(mel, (0, longest - mel.shape[-1])) for mel in mels]
            )
            data["feature_attention_mask"] = torch.stack(
                [(torch.arange(longest) < mel.shape[-1]).long() for mel in mels]
            )
            data["prosody"] = torch.stack([torch.as_tensor(prosody(wave)) for wave in audio])
        return BatchFeature(data)


def wave_row(wave: np.ndarray) -> torch.Tensor:
    return normalised(torch.from_numpy(at_least(wave, SHORTEST)))


class AffectProcessor(ProcessorMixin):
    """Tokenizer and feature extractor in one; widens the media placeholders of the chat template."""

    def __init__(
        self,
        feature_extractor: AffectFeatureExtractor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def widen(self, text: str) -> str:
        """Each placeholder repeated to the tokens its medium takes, the fused tokens after the last one."""
        extractor = self.feature_extractor
        last = max(
            text.rfind(FACE) + len(FACE) if FACE in text else 0, text.rfind(VOICE) + len(VOICE) if VOICE in text else 0
        )
        head = text[:last].replace(FACE, FACE * extractor.face_tokens).replace(VOICE, VOICE * extractor.voice_tokens)
        return head + FUSION * extractor.fusion_tokens * bool(last) + text[last:]

    def __call__(
        self,
        text: str | Sequence[str],
        videos: Sequence[np.ndarray] | None = None,
        audio: Sequence[np.ndarray] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prompt ids and media tensors; at most one video and one audio a row, in the order of the rows."""
        rows = [text] if isinstance(text, str) else list(text)
        kwargs.setdefault("return_tensors", "pt")
        encoded = self.tokenizer(
            [self.widen(row) for row in rows], padding=len(rows) > 1, add_special_tokens=False, **kwargs
        )
        return BatchFeature({**encoded, **self.feature_extractor(videos, audio)})

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        if self.feature_extractor._detector is not None:
            self.feature_extractor._detector.save(Path(save_directory) / DETECTOR_FILE)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> "AffectProcessor":
        from transformers.utils import cached_file

        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        weights = cached_file(pretrained_model_name_or_path, DETECTOR_FILE, _raise_exceptions_for_missing_entries=False)
        if weights is not None:
            processor.feature_extractor._detector = FaceDetector.load(Path(weights))
        return processor
