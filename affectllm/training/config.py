"""TRL's config of a stage: our defaults, the stage's own settings, and what the user gives under `trainer`."""

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affectllm import precision
from affectllm.errors import AffectError, closest
from affectllm.training.options import Runtime

if TYPE_CHECKING:
    from transformers import TrainingArguments


def check_trainer_keys(kind: type["TrainingArguments"], trainer: Mapping[str, Any]) -> None:
    """Raise AffectError, which names the closest key, for a key under `trainer` that TRL's config does not have."""
    known = {field.name for field in dataclasses.fields(kind)}
    for key in trainer:
        if key not in known:
            raise AffectError(f"trainer.{key} is not an option of TRL's {kind.__name__}.{closest(key, known)}")


def trainer_config(
    kind: type["TrainingArguments"], runtime: Runtime, dtype: str, **settings: Any
) -> "TrainingArguments":
    """TRL's own config. What the user gives under `trainer` wins over `settings`; a wrong key there is an error."""
    import torch

    from affectllm.training.spread import check_launch

    check_trainer_keys(kind, runtime.trainer)
    computes = precision.settle(dtype, runtime.trainer)
    defaults: dict[str, Any] = {
        "output_dir": str(runtime.out / "checkpoints"),
        "seed": runtime.seed,
        "data_seed": runtime.seed,
        "save_steps": runtime.save_every,
        "save_total_limit": 1,
        "logging_steps": 5,
        "report_to": check_trackers(runtime.report_to),
        "disable_tqdm": not sys.stderr.isatty(),
        "remove_unused_columns": False,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": computes == "bf16",
        "fp16": computes == "fp16",
        "gradient_checkpointing": torch.cuda.is_available(),
    }
    try:
        config = kind(**{**defaults, **settings, **runtime.trainer})
    except ValueError as error:
        # Options that do not fit together, e.g. a batch that does not hold whole groups.
        raise AffectError(f"{kind.__name__} refuses these options: {error}") from error
    check_launch(config)
    return config


def check_trackers(names: Sequence[str]) -> list[str]:
    """The trackers asked for. Raises AffectError for one that is not installed, before anything is loaded."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise AffectError(f"--report-to {name}: {name} is not installed. Install it: pip install {name}")
    return list(names)
