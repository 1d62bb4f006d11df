"""What the training scripts share: their common options, and a run folder that can be killed and resumed."""

import contextlib
import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectllm import __version__, jsonl, precision
from affectllm.data.reading import media_root, read_split
from affectllm.errors import AffectError
from affectllm.files import file_hash
from affectllm.paths import cache_folder
from affectllm.records import Conversation

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

    from affectllm.models.backbone import Backbone
    from affectllm.models.store import MediaStore
    from affectllm.training.callbacks import RunLog
    from affectllm.training.plan import Work
    from affectllm.training.tuning import Tuning

OPTIONS, FINISHED = "options.json", "run.json"
# Options that do not change the result: a run may be resumed with other values of these.
HARMLESS = {"save_every", "dry_run", "report_to", "cache_gib", "vllm_url", "check_exact"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Options common to every stage of training."""

    data: Path
    """Conversations from a data builder, one JSON object a line."""
    out: Path
    """Folder for the adapter, checkpoints and the record of the run."""
    model: str = "nano"
    """'nano', a model folder, a hub name, or the folder of an adapter to go on from."""
    media: Path | None = None
    """Root of the clips' paths; without it, the folder of the data file."""
    split: str = "train"
    """Which split of the data to learn from."""
    modalities: tuple[str, ...] = ("video", "audio")
    """What of the clips the model gets beside the subtitle; none of them makes a text-only baseline."""
    frames: int | None = None
    """Frames of a clip; without it, those that the model was trained with, 8 where nothing is known."""
    max_pixels: int | None = None
    """Most pixels of a frame, which sets how many tokens a clip takes; without it, the processor's own limit."""
    dtype: str = "auto"
    """Precision of frozen weights and of forwards: float32, bfloat16 or float16; auto takes what the hardware
    multiplies natively. What learns is float32 in each."""
    quantise: bool = False
    """Keep the language model's own layers in 4 bits (NF4) under the adapter; encoders and heads stay as they are."""
    seed: int = 7
    """Order of the data, adapter initialisation, dropout and sampling."""
    save_every: int = 40
    """Steps between checkpoints; a killed run loses at most these."""
    cache_gib: float = 20.0
    """Of decoded and encoded clips kept on the disk, in $AFFECTLLM_CACHE; what exceeds it is read again each epoch."""
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Trackers that get every logged number beside log.jsonl; none are asked without this."""
    dry_run: bool = False
    """Print what the run would do as one JSON object, and stop: tokens of a row, trained parameters, memory, FLOPs of a
    step. Needs the model's config and processor files, not its weights."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Anything else TRL's config of this stage takes, e.g. --trainer.gradient_checkpointing true."""


def options_of(run: Run) -> dict[str, Any]:
    """The options as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(run), default=str))


def is_finished(run: Run) -> bool:
    """True when this very run is already complete; the folder of another run is an error.

    The options are written first, so that a resumed run is known to be the same one; with them the precision that
    `--dtype auto` means on this machine, since it may mean another where the run goes on.
    """
    asked = options_of(run) | {"dtype": precision.full_name(precision.settle(run.dtype, run.trainer))}
    known = run.out / OPTIONS
    if known.is_file():
        before = json.loads(known.read_text("utf-8"))
        other = [key for key in asked if key not in HARMLESS and before.get(key) != asked[key]]
        if other:
            key = other[0]
            raise AffectError(
                f"{run.out} holds a run with another {key} ({before.get(key)!r}, now {asked[key]!r}). "
                "Go on with the former value, choose another --out, or delete that folder."
            )
    if (run.out / FINISHED).is_file():
        print(f"{run.out} is finished already.")
        return True
    jsonl.write_json(known, asked)
    return False


def load_model(run: Run) -> "Backbone":
    """The model that the run begins with, an adapter in it ready to learn on."""
    from affectllm.models import load

    return load(run.model, run.dtype, True, run.quantise, run.frames, run.max_pixels)


def media_store(backbone: "Backbone", run: Run) -> "MediaStore":
    from affectllm.media.cache import FeatureCache
    from affectllm.models.store import MediaStore

    cache = FeatureCache(cache_folder() / "features", int(run.cache_gib * 2**30))
    return MediaStore(backbone, media_root(run.data, run.media), cache, run.modalities)


def add_lora(backbone: "Backbone", rank: int, dropout: float, seed: int) -> None:
    """Put an adapter on the language model; an adapter that is there already is trained on."""
    from affectllm.training.tuning import Tuning, prepare

    prepare(backbone, Tuning(rank=rank, dropout=dropout), seed)


def show_plan(backbone: "Backbone", conversations: Sequence[Conversation], run: Run, work: "Work") -> None:
    """Say what reaches the model, what is trained and what it takes; an asked modality that does not is an error."""
    from affectllm.training.plan import make_plan

    plan = make_plan(backbone, conversations, media_root(run.data, run.media), run.modalities, complete(run, work))
    plan.show()


def dry_run(
    run: Run,
    rank: int,
    work: "Work",
    config: str,
    tuning: "Tuning | None" = None,
    conversations: Sequence[Conversation] = (),
) -> None:
    """Print the plan of a run as one JSON object, from the model's config and processor alone; nothing is written.

    `config` names TRL's options class of this stage, against which the keys of `trainer` are checked. An adapter of
    this rank learns, or what `tuning` says, from `conversations`, without them from the split of the data.
    """
    # Libraries below greet on stdout when they are imported, and would spoil the one object printed there.
    with contextlib.redirect_stdout(sys.stderr):
        import trl

        from affectllm.models import load_shape
        from affectllm.training.plan import make_plan
        from affectllm.training.tuning import Tuning, prepare

        check_trainer_keys(getattr(trl, config), run)
        precision.settle(run.dtype, run.trainer)
        rows = conversations or read_split(run.data, run.split)
        backbone = load_shape(run.model, run.dtype, run.frames, run.max_pixels)
        prepare(backbone, tuning or Tuning(rank=rank), run.seed)
        plan = make_plan(backbone, rows, media_root(run.data, run.media), run.modalities, complete(run, work))
    print(json.dumps(plan.to_json()))


def complete(run: Run, work: "Work") -> "Work":
    """The work of a step with what `trainer` says about it."""
    import torch

    return work._replace(
        accumulation=run.trainer.get("gradient_accumulation_steps", 1),
        checkpointing=run.trainer.get("gradient_checkpointing", torch.cuda.is_available()),
        optimizer=str(run.trainer.get("optim", "adamw_torch")),
        quantised=run.quantise,
    )


def check_trainer_keys(kind: type["TrainingArguments"], run: Run) -> None:
    """A wrong key under `trainer` is named, with the one that was probably meant."""
    known = {field.name for field in dataclasses.fields(kind)}
    for key in run.trainer:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(key, known, n=1)
            raise AffectError(
                f"trainer.{key} is no option of TRL's {kind.__name__}."
                + (f" Perhaps you meant '{near[0]}'." if near else "")
            )


def trainer_config(kind: type["TrainingArguments"], run: Run, **settings: Any) -> "TrainingArguments":
    """TRL's own config; what the user gave under `trainer` wins, and a wrong key there is named."""
    import torch

    from affectllm.training.spread import check_launch

    check_trainer_keys(kind, run)
    computes = precision.settle(run.dtype, run.trainer)
    defaults: dict[str, Any] = {
        "output_dir": str(run.out / "checkpoints"),
        "seed": run.seed,
        "data_seed": run.seed,
        "save_steps": run.save_every,
        "save_total_limit": 1,
        "logging_steps": 5,
        "report_to": trackers(run),
        "disable_tqdm": not sys.stderr.isatty(),
        "remove_unused_columns": False,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": computes == "bf16",
        "fp16": computes == "fp16",
        "gradient_checkpointing": torch.cuda.is_available(),
    }
    try:
        config = kind(**{**defaults, **settings, **run.trainer})
    except ValueError as error:
        # What does not fit together, e.g. a batch that holds no whole groups.
        raise AffectError(f"{kind.__name__} refuses these options: {error}") from error
    check_launch(config)
    return config


def trackers(run: Run) -> list[str]:
    """The trackers asked for; one that is not installed is an error before anything is loaded."""
    for name in run.report_to:
        if importlib.util.find_spec(name) is None:
            raise AffectError(f"--report-to {name}: {name} is not installed. Install it: pip install {name}")
    return list(run.report_to)


def watch(trainer: "Trainer", log: "RunLog") -> None:
    """Let the run log itself; transformers' own printer of every number goes."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(log)


def last_checkpoint(out: Path) -> str | None:
    """The newest whole checkpoint, or None for a fresh start."""
    from transformers.trainer_utils import get_last_checkpoint

    folder = out / "checkpoints"
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def save(trainer: "Trainer", backbone: "Backbone", run: Run) -> None:
    """Adapter, processor and, last, the record that marks the run as finished."""
    trainer.accelerator.wait_for_everyone()
    from affectllm.models import VIEW
    from affectllm.training.spread import weights_of

    # Every process takes part in gathering.
    weights = weights_of(trainer, backbone)
    if not trainer.accelerator.is_main_process:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    adapted = hasattr(model, "peft_config")
    if adapted:
        model.peft_config["default"].base_model_name_or_path = backbone.name
        model.save_pretrained(run.out, selected_adapters=["default"], state_dict=weights)
    else:
        model.save_pretrained(run.out, state_dict=weights)
    # A whole model wants its processor beside it.
    backbone.processor.save_pretrained(run.out / "processor" if adapted else run.out)
    if backbone.view:
        jsonl.write_json(run.out / VIEW, backbone.view)
    jsonl.write_json(run.out / FINISHED, record_of(trainer, run))
    print(f"{'Adapter' if adapted else 'Model'} written to {run.out}")


def record_of(trainer: "Trainer", run: Run) -> dict[str, Any]:
    """What made this adapter: options, versions, data and the loss curve."""
    import peft
    import torch
    import transformers
    import trl

    manifest = run.data.parent / "manifest.json"
    return {
        "options": options_of(run),
        "command": sys.argv,
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, trl, peft)} | {"affectllm": __version__},
        "git": git_revision(),
        "data": [fingerprint(path) for path in (run.data, *getattr(run, "also", ()))],
        "data_manifest": json.loads(manifest.read_text("utf-8")) if manifest.is_file() else None,
        "precision": precisions(trainer),
        "processes": trainer.accelerator.num_processes,
        "distributed": trainer.accelerator.distributed_type.value,
        "steps": trainer.state.global_step,
        "log": trainer.state.log_history,
    }


def precisions(trainer: "Trainer") -> dict[str, Any]:
    """What forwards computed in, and how many weights learnt and stayed in which precision."""
    counts: dict[str, Counter[str]] = {"learnt": Counter(), "frozen": Counter()}
    for parameter in trainer.accelerator.unwrap_model(trainer.model).parameters():
        dtype = str(parameter.dtype).removeprefix("torch.")
        counts["learnt" if parameter.requires_grad else "frozen"][dtype] += parameter.numel()
    return {"forwards": trainer.accelerator.mixed_precision, **counts}


def fingerprint(data: Path) -> dict[str, str | None]:
    """A file of conversations and the manifest beside it, by their content."""
    manifest = data.parent / "manifest.json"
    return {
        "file": str(data),
        "sha256": file_hash(data),
        "manifest_sha256": file_hash(manifest) if manifest.is_file() else None,
    }


def git_revision() -> str | None:
    """Revision of the source checkout, or None for an installed package."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
