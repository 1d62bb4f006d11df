"""Merge an adapter into its model: a folder that any program reads, with a card that says what it is.

    affectllm train merge --adapter runs/sft --out models/mine
    affectllm train merge --adapter runs/sft --out models/mine --full Qwen2.5-Omni-7B

`--full` names the folder of a whole Omni checkpoint. The merged Thinker takes the place of its `thinker.` weights, and
all else, for instance the Talker, is copied. Adapters of ms-swift and LLaMA-Factory work too.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm import hub
from affectllm.errors import AffectError
from affectllm.options import command

if TYPE_CHECKING:
    from affectllm.models.base.backbone import Backbone

THINKER = "thinker."


@dataclass(frozen=True, kw_only=True)
class Merge:
    adapter: Path
    """Folder of an adapter trained here, or by ms-swift or LLaMA-Factory."""
    out: Path
    """Folder for the merged model; it must not exist yet."""
    model: str | None = None
    """Base model of the adapter. By default it is the one that the adapter names."""
    full: Path | None = None
    """Folder of a whole Omni checkpoint that the merged Thinker is written back into."""
    dtype: str = "auto"
    """Precision of the weights: float32, bfloat16 or float16. With auto it is that of the stored base model."""
    results: Path | None = None
    """results.json of an evaluation, for the table of the model card."""
    licence: str = "other"
    """Licence of the merged weights, for the model card. The licence of the base model binds them; those of the data
    may."""
    push: str | None = None
    """Repository on the Hugging Face hub, as name/model, to which the merged model and its card are sent. A new
    repository is private."""


def main(options: Merge) -> None:
    from affectllm.models import VIEW, adapters, quiet

    if options.out.exists():
        raise AffectError(f"{options.out} exists. Choose another --out, or delete it.")
    results = json.loads(options.results.read_text(encoding="utf-8")) if options.results else None
    quiet()
    backbone = load_stored(options.adapter, options.model, options.dtype)
    backbone.model = adapters.attach(backbone.model, options.adapter).merge_and_unload(safe_merge=True)
    # Written next to its place and renamed at the end: a kill leaves no half model that looks whole.
    partial = options.out.with_name(f".{options.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    thinker = partial.with_name(f"{partial.name}-thinker") if options.full else partial
    backbone.model.save_pretrained(thinker)
    backbone.processor.save_pretrained(thinker)
    if options.full:
        write_back(thinker, options.full, partial)
        shutil.rmtree(thinker)
    if (options.adapter / VIEW).is_file():
        shutil.copy2(options.adapter / VIEW, partial / VIEW)
    card = model_card(backbone, options.adapter, options.out.name, options.licence, results, full=bool(options.full))
    (partial / "README.md").write_text(card, encoding="utf-8")
    partial.rename(options.out)
    print(f"Merged model written to {options.out}")
    if options.push:
        print(f"Sent to {hub.send(options.out, options.push, 'model')}")


def load_stored(adapter: Path, model: str | None, dtype: str) -> "Backbone":
    """The base model in the precision it is stored in, unless the user names another."""
    from affectllm import precision
    from affectllm.models import ADAPTER_CONFIG, base_of, load_base

    if not (adapter / ADAPTER_CONFIG).is_file():
        raise AffectError(f"{adapter} holds no {ADAPTER_CONFIG}. Is it the folder of an adapter?")
    name = model or base_of(adapter)
    return load_base(name, "auto" if dtype == "auto" else precision.named(dtype))


def write_back(thinker: Path, full: Path, out: Path) -> None:
    """Write a copy of a whole checkpoint with the merged weights as its `thinker.` weights. Shards keep their names."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    shards = sorted(full.glob("*.safetensors"))
    if not shards:
        raise AffectError(
            f"{full} holds no .safetensors files. Download the whole checkpoint first, and give its folder."
        )
    merged = place_of_weights(thinker)
    names = {name for shard in shards for name in keys_of(shard) if name.startswith(THINKER)}
    wrong = sorted(names ^ merged.keys())
    if wrong:
        raise AffectError(
            f"{full} is not the checkpoint of this Thinker: {len(wrong)} weights are in only one of the two, "
            f"such as {', '.join(wrong[:5])}."
        )
    out.mkdir(parents=True)
    for file in full.iterdir():
        if file.is_file() and file not in shards:
            shutil.copy2(file, out / file.name)
    for shard in shards:
        with safe_open(shard, "pt") as stored:
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            note = stored.metadata()
        for name in weights:
            if name in merged:
                with safe_open(merged[name], "pt") as ours:
                    own = set(ours.keys())
                    new = ours.get_tensor(name if name in own else name.removeprefix(THINKER))
                if new.shape != weights[name].shape:
                    raise AffectError(f"{name} is {tuple(new.shape)} here and {tuple(weights[name].shape)} in {full}.")
                weights[name] = new.to(weights[name].dtype)
        save_file(weights, out / shard.name, metadata=note)


def place_of_weights(folder: Path) -> dict[str, Path]:
    """Name in a whole checkpoint of each weight of a saved Thinker -> the file it is in."""
    return {
        THINKER + name.removeprefix(THINKER): file
        for file in sorted(folder.glob("*.safetensors"))
        for name in keys_of(file)
    }


def keys_of(shard: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(shard, "pt") as stored:
        return list(stored.keys())


def model_card(
    backbone: "Backbone", adapter: Path, title: str, licence: str, results: dict[str, Any] | None, full: bool
) -> str:
    """README.md: what the model is, what it was trained on, what it may be used for, and how well it does."""
    from affectllm.models.card import card

    record = adapter / "run.json"
    return card(
        base=backbone.name,
        title=title,
        licence=licence,
        record=json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None,
        results=results,
        full=full,
    )


if __name__ == "__main__":
    command(main)
