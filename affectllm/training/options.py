"""The options that the stages of training share, in the groups that `--help` shows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Data:
    """The conversations to learn from, and what the model sees of their clips."""

    data: Path
    """Conversations from a data builder, one JSON object per line."""
    media: Path | None = None
    """Root folder of the clips' paths. By default it is the folder of the data file."""
    split: str = "train"
    """Split of the data to learn from."""
    modalities: tuple[str, ...] = ("video", "audio")
    """Parts of a clip that the model gets in addition to the subtitle. Give none for a text-only baseline."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The model that training starts from."""

    model: str = "nano"
    """'nano', a model folder, a hub name, or the folder of an adapter to train further."""
    frames: int | None = None
    """Number of frames of a clip. By default as many as the model was trained with, or 8 if that is unknown."""
    max_pixels: int | None = None
    """Largest number of pixels of a frame. It sets the tokens of a clip. By default the processor's limit holds."""
    dtype: str = "auto"
    """Precision of frozen weights and of forwards: float32, bfloat16 or float16. With auto it is what the hardware
    multiplies natively. Weights that learn are float32 in each case."""
    quantise: bool = False
    """Keep the language model's own layers in 4 bits (NF4) under the adapter. Encoders and heads stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Which weights learn: a LoRA adapter on the language model."""

    rank: int = 16
    """Rank of the adapter, when the model has no adapter yet. A higher rank fits more and costs more memory."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Scores on held-out clips while the run trains (dev.jsonl); the best weights are the ones written."""

    dev_every: int = 0
    """Steps between scores on held-out clips: answers are generated, and set F1 and clues are scored as `eval score`
    does. The best weights are written, the last ones are kept in last/. With 0 nothing is scored."""
    dev_split: str = "dev"
    """Split of --data to score. Never use one that a result is reported on."""
    dev_limit: int | None = 200
    """Number of clips of that split to score. The first ones are taken."""
    patience: int = 0
    """Stop the run after this many scores in a row without a better one. With 0 all steps are run."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The run folder, reproducibility and logging. --trainer.KEY VALUE passes any other option to TRL."""

    out: Path
    """Folder for the adapter, checkpoints and the record of the run."""
    seed: int = 7
    """Seed of the data's order, of the adapter's first weights, of dropout and of sampling."""
    save_every: int = 40
    """Steps between checkpoints. A run that is killed loses at most the steps since the last one."""
    cache_gib: float = 20.0
    """Size in GiB up to which decoded and encoded clips are kept on disk, in $AFFECTLLM_CACHE. Clips beyond it are read
    again in each epoch."""
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Trackers that get every logged number in addition to log.jsonl."""
    dry_run: bool = False
    """Print what the run would do as one JSON object, and stop: tokens of a row, trained parameters, memory, FLOPs of a
    step. This needs the model's config and processor files, but not its weights."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Other settings of TRL's config of this stage, e.g. --trainer.gradient_checkpointing true."""
