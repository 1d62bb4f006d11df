"""The model card of a merged model: README.md with the front matter that hubs read."""

import json
from collections.abc import Iterator
from typing import Any

INTENDED = """\
Research on how multimodal models describe shown emotion, and tools that a person uses on clips they may use. It answers
which emotions a person shows in a clip, and why.

Not for judging, ranking, hiring, policing, diagnosing or monitoring people. An answer is a guess about what is shown,
not about what is felt; it carries the culture, language and annotators of its data. Ask people before you record them.
"""


def card(
    base: str,
    title: str,
    licence: str,
    record: dict[str, Any] | None,
    results: dict[str, Any] | None,
    full: bool = False,
) -> str:
    """The text of README.md.

    `record` is the run.json of the adapter, `results` a results.json of an evaluation; without them the card says so.
    """
    manifest = (record or {}).get("data_manifest") or {}
    front = {
        "license": licence,
        "library_name": "transformers",
        "base_model": base,
        "base_model_relation": "finetune",
        "tags": ["emotion-recognition", "multimodal", "affectllm"],
    }
    # JSON values are YAML values, so that no name can break the front matter.
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", f"# {title}", ""]
    whole = ", as a whole checkpoint: parts other than the Thinker are unchanged" if full else ""
    lines += [f"{base} with an adapter of affectllm merged into it{whole}.", "", "## Data", "", *data(manifest), ""]
    lines += ["## Training", "", *training(record), "", "## Results", "", *table(results), ""]
    lines += ["## Intended use", "", INTENDED]
    lines += ["## Limits", "", *limits(results), "", "## Licence", ""]
    lines += [
        f"{licence}. The licence of {base} applies to these weights; so may those of the data: "
        f"{manifest.get('licence') or 'not recorded'}."
    ]
    return "\n".join(lines) + "\n"


def data(manifest: dict[str, Any]) -> Iterator[str]:
    if not manifest:
        yield "Not recorded: the adapter came without run.json, or its data without manifest.json."
        return
    yield "- sources: " + (", ".join(manifest.get("sources", {})) or "not recorded")
    for key in ("rows_in", "rows_out", "rejected", "licence", "conversations_sha256"):
        if manifest.get(key) is not None:
            yield f"- {key.replace('_', ' ')}: {manifest[key]}"


def training(record: dict[str, Any] | None) -> Iterator[str]:
    if record is None:
        yield "Not recorded: the adapter came without run.json."
        return
    yield f"- steps: {record.get('steps')}"
    yield f"- source revision: {record.get('git') or 'an installed package'}"
    yield "- versions: " + ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    yield "- options: " + ", ".join(
        f"{key}={value}"
        for key, value in record.get("options", {}).items()
        # Paths are useless to a reader elsewhere, and disclose too much about the machine.
        if key not in ("data", "out", "media", "model")
    )


def table(results: dict[str, Any] | None) -> Iterator[str]:
    """Every number and name in results.json."""
    if results is None:
        yield "Not evaluated. Make results with `affectllm eval score`, and merge again with --results."
        return
    yield "| measure | value |"
    yield "|---|---|"
    for name, value in leaves(results):
        yield f"| {name} | {f'{value:.3f}' if isinstance(value, float) else value} |"


def leaves(results: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in results.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def limits(results: dict[str, Any] | None) -> Iterator[str]:
    yield "- Trained on the data above alone; other faces, voices, languages and recordings were not tested."
    yield "- What it says it saw or heard is generated text. `affectllm explain` measures what each modality changes."
    if results is None:
        yield "- No number here says how good it is."
