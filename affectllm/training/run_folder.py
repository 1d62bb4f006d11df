"""A run folder: the options of the run, its checkpoints, and at the end its result with the record of how it was made.

A run that was killed goes on from its last checkpoint when the same command is given again.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm import __version__, jsonl, precision
from affectllm.errors import AffectError
from affectllm.files import file_hash

if TYPE_CHECKING:
    from transformers import Trainer

    from affectllm.models.base.backbone import Backbone

OPTIONS, FINISHED = "options.json", "run.json"
# Options that do not change the result: a run may be resumed with other values for these.
HARMLESS = {"save_every", "dry_run", "report_to", "cache_gib", "vllm_url", "check_exact"}


class RunFolder:
    """The folder of one run. `options` are all options of the run by name, as `affectllm.options.flat` gives them."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.path = Path(options["out"])
        self.options: dict[str, Any] = json.loads(json.dumps(dict(options), default=str))
        """As plain JSON values."""

    def is_finished(self) -> bool:
        """True when this very run is already complete. Raises AffectError for the folder of another run.

        The options are written first, so that a resumed run is known to be the same one. With them goes the precision
        that `--dtype auto` means on this machine, since it may mean another where the run goes on.
        """
        settled = precision.full_name(precision.settle(self.options["dtype"], self.options["trainer"]))
        asked = self.options | {"dtype": settled}
        known = self.path / OPTIONS
        if known.is_file():
            before = json.loads(known.read_text("utf-8"))
            other = [key for key in asked if key not in HARMLESS and before.get(key) != asked[key]]
            if other:
                key = other[0]
                raise AffectError(
                    f"{self.path} holds a run with another {key} ({before.get(key)!r}, now {asked[key]!r}). "
                    "Go on with the former value, choose another --out, or delete that folder."
                )
        if (self.path / FINISHED).is_file():
            print(f"{self.path} is finished already.")
            return True
        jsonl.write_json(known, asked)
        return False

    def last_checkpoint(self) -> str | None:
        """The newest whole checkpoint, or None for a fresh start."""
        from transformers.trainer_utils import get_last_checkpoint

        folder = self.path / "checkpoints"
        return get_last_checkpoint(str(folder)) if folder.is_dir() else None

    def save(self, trainer: "Trainer", backbone: "Backbone") -> None:
        """Write adapter, processor and, last, the record that marks the run as finished."""
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
            model.save_pretrained(self.path, selected_adapters=["default"], state_dict=weights)
        else:
            model.save_pretrained(self.path, state_dict=weights)
        # A whole model is loaded together with its processor.
        backbone.processor.save_pretrained(self.path / "processor" if adapted else self.path)
        if backbone.view:
            jsonl.write_json(self.path / VIEW, backbone.view)
        jsonl.write_json(self.path / FINISHED, record_of(trainer, self.options))
        print(f"{'Adapter' if adapted else 'Model'} written to {self.path}")


def record_of(trainer: "Trainer", options: Mapping[str, Any]) -> dict[str, Any]:
    """What made this adapter: options, versions, data and the loss curve."""
    import peft
    import torch
    import transformers
    import trl

    data = Path(options["data"])
    manifest = data.parent / "manifest.json"
    return {
        "options": dict(options),
        "command": sys.argv,
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, trl, peft)} | {"affectllm": __version__},
        "git": git_revision(),
        "data": [fingerprint(path) for path in (data, *map(Path, options.get("also", ())))],
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
    """A file of conversations and the manifest in its folder, by their content."""
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
