"""What every stage does before it trains: load the model, open the store of its clips, print the plan."""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affectllm import precision
from affectllm.data.reading import media_root
from affectllm.paths import cache_folder
from affectllm.records import Conversation
from affectllm.training.options import Data, Model, Runtime

if TYPE_CHECKING:
    from transformers import Trainer

    from affectllm.models.base.backbone import Backbone
    from affectllm.models.store import MediaStore
    from affectllm.training.callbacks import RunLog
    from affectllm.training.plan import Work
    from affectllm.training.tuning import Tuning


def load_model(start: Model) -> "Backbone":
    """The model that the run starts from. An adapter in it is ready to learn."""
    from affectllm.models import load

    return load(
        start.model,
        start.dtype,
        trainable=True,
        quantise=start.quantise,
        frames=start.frames,
        max_pixels=start.max_pixels,
    )


def open_store(backbone: "Backbone", source: Data, cache_gib: float) -> "MediaStore":
    """The store of the clips of the data, over the cache on disk."""
    from affectllm.media.cache import FeatureCache
    from affectllm.models.store import MediaStore

    cache = FeatureCache(cache_folder() / "features", int(cache_gib * 2**30))
    return MediaStore(backbone, media_root(source.data, source.media), cache, source.modalities)


def complete(work: "Work", trainer: Mapping[str, Any], quantised: bool) -> "Work":
    """The work of a step with the settings of `trainer`."""
    import torch

    return work._replace(
        accumulation=trainer.get("gradient_accumulation_steps", 1),
        checkpointing=trainer.get("gradient_checkpointing", torch.cuda.is_available()),
        optimizer=str(trainer.get("optim", "adamw_torch")),
        quantised=quantised,
    )


def show_plan(backbone: "Backbone", conversations: Sequence[Conversation], source: Data, work: "Work") -> None:
    """Print what reaches the model, what is trained and how much memory it takes.

    Raises AffectError when a modality that was asked for does not reach the model.
    """
    from affectllm.training.plan import make_plan

    make_plan(backbone, conversations, media_root(source.data, source.media), source.modalities, work).show()


def dry_run(
    config: str,
    conversations: Sequence[Conversation],
    source: Data,
    start: Model,
    tuning: "Tuning",
    runtime: Runtime,
    work: "Work",
) -> None:
    """Print the plan of a run as one JSON object, from the model's config and processor alone; nothing is written.

    `config` names TRL's options class of this stage, against which the keys of `trainer` are checked.
    """
    # Some libraries print to stdout when they are imported, and would spoil the one JSON object there.
    with contextlib.redirect_stdout(sys.stderr):
        import trl

        from affectllm.models import load_shape
        from affectllm.training.config import check_trainer_keys
        from affectllm.training.plan import make_plan
        from affectllm.training.tuning import make_trainable

        check_trainer_keys(getattr(trl, config), runtime.trainer)
        precision.settle(start.dtype, runtime.trainer)
        backbone = load_shape(start.model, start.dtype, start.frames, start.max_pixels)
        make_trainable(backbone, tuning, runtime.seed)
        root = media_root(source.data, source.media)
        plan = make_plan(backbone, conversations, root, source.modalities, work)
    print(json.dumps(plan.to_json()))


def watch(trainer: "Trainer", log: "RunLog") -> None:
    """Make the run log itself, in place of transformers' own printer of every number."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(log)
