"""Score predictions against gold labels, with interval, baselines and all that was skipped.

    affectllm eval score preds-openset.npz --gold label.npz:test_corpus --protocol unibench --metric hit_rate \
        --assets MER2025/emotion_wheel --json
    affectllm eval score runs/test/answers.jsonl --gold data/conversations.jsonl --split test --out runs/test

Files may be AffectGPT's .npz, MERBench's label.npz, .csv with a column `name`, or .jsonl. Without --metric,
answers.jsonl against conversations.jsonl gives the summary of a run: results.json and scores.jsonl in --out.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from affectllm import jsonl, vocabulary
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.records import Answer, Conversation

Protocol = Literal["affectllm-1", "unibench", "mer2024", "ovmer", "mer2025", "mer2026"]


@dataclass(frozen=True)
class Options:
    pred: Annotated[str, tyro.conf.Positional]
    """Predictions: .npz, .csv, .jsonl."""
    gold: str
    """Gold labels: .npz (FILE.npz:CORPUS names the corpus in it), .csv, .jsonl."""
    protocol: Protocol = "affectllm-1"
    """Whose emotion wheels and rules; all but affectllm-1 need --assets."""
    metric: str | None = None
    """ew, hit_rate, mscore, sentiment, waf, war, uar, macro_f1, ccc, ece, clue_f1 ... (docs/scores/README.md has all);
    without it, the summary of a run."""
    assets: Path | None = None
    """Your copy of MERTools' emotion_wheel folder; for mer2024, of its openset-synonym folder."""
    level: Literal["level1", "level2", "M1", "M2"] = "level1"
    """Inner or outer ring of the wheels; M1 and M2 are OV-MER's scores without a wheel."""
    split: str | None = None
    """Of a conversations file, only this split."""
    classes: tuple[str, ...] = ()
    """The closed list of emotions, in order where an archive holds them as numbers; else what is gold somewhere."""
    scale: Literal["cmu", "sims"] = "cmu"
    """Of sentiment strengths: -3..3 as in MOSI and MOSEI, or -1..1 as in SIMS."""
    clue_encoder: str | None = None
    """Of the clue metrics: a text encoder (folder or hub name, e.g. sentence-transformers/all-MiniLM-L6-v2) that
    compares statements by meaning; without it their words are compared."""
    cluster: str | None = None
    """Draw whole dialogues or speakers for the interval: a field of the gold rows, or an expression on the id whose
    group names the cluster, e.g. '^(.+)_utt'."""
    against: str | None = None
    """Predictions of another model for the same clips: adds the paired difference to them."""
    only_predicted: bool = False
    """Score the clips that have a prediction; the table then says how many have none."""
    out: Path | None = None
    """Folder for results.json, and of a summary also scores.jsonl."""
    json: bool = False
    """Print one JSON object instead of lines to read."""


def main(run: Options) -> None:
    results = score_metric(run, run.metric) if run.metric else summarise_run(run)
    if run.out:
        jsonl.write_json(run.out / "results.json", results)
    print(json.dumps(results, ensure_ascii=False) if run.json else readable(results))


def score_metric(run: Options, name: str) -> dict[str, Any]:
    """One metric as the object that is printed."""
    from affectllm.scores import metrics
    from affectllm.scores.tables import match, read_table

    if name not in metrics.METRICS:
        raise AffectError(f"No metric '{name}'. Known: {', '.join(metrics.METRICS)}.")
    grouped = run.protocol == "mer2024"
    if grouped and name in metrics.NEED_WHEELS and name != "ew":
        raise AffectError(f"MER2024 has no {name}: its one open-vocabulary score is --metric ew.")
    wheels = vocabulary.load(run.protocol, run.assets) if name in metrics.NEED_WHEELS and not grouped else None
    gold = read_table(run.gold, run.classes, run.split)
    said = read_table(run.pred, run.classes)
    ids, missing = match(said, gold, run.only_predicted)
    options = {key: getattr(run, key) for key in ("protocol", "level", "assets", "classes", "scale", "clue_encoder")}
    case = metrics.make_case(said, gold, ids, wheels=wheels, **options)
    groups = case.clusters(run.cluster) if run.cluster else None
    result = metrics.evaluate(metrics.METRICS[name], case, groups)
    results = {"metric": name, "protocol": run.protocol} | {k: v for k, v in asdict(result).items() if v is not None}
    if run.against:
        other = read_table(run.against, run.classes)
        match(other, dict.fromkeys(ids), only_predicted=False)
        rival = metrics.make_case(other, gold, ids, wheels=wheels, **options)
        results["difference"] = metrics.gain(metrics.METRICS[name], case, rival, groups)._asdict()
    if groups:
        results["clusters"] = len(set(groups))
    if missing:
        results["skipped"] = result.skipped | {"no prediction": missing}
    # Papers of this field print percent with two digits.
    results["percent"] = round(100 * result.value, 2)
    if wheels:
        results |= {"level": run.level, "wheels_hash": wheels.hash}
    return clean(results)


def summarise_run(run: Options) -> dict[str, Any]:
    """The summary of a run; scores.jsonl goes to --out."""
    from affectllm.scores.summary import summarise
    from affectllm.scores.tables import match

    if not (run.pred.endswith(".jsonl") and run.gold.endswith(".jsonl")):
        raise AffectError("Name a --metric, or give answers.jsonl and conversations.jsonl for the summary of a run.")
    conversations = list(jsonl.read(Path(run.gold), Conversation))
    gold = by_id([clip for clip in conversations if run.split in (None, clip.split)], run.gold)
    if not gold:
        raise AffectError(f"{run.gold} has no clip of split '{run.split}'.")
    said = by_id(list(jsonl.read(Path(run.pred), Answer)), run.pred)
    ids, missing = match(said, gold, run.only_predicted)
    wheels = vocabulary.load(run.protocol, run.assets)
    results, scores = summarise([said[it] for it in ids], [gold[it] for it in ids], wheels, run.level)
    if missing:
        results["skipped"] |= {"no prediction": missing}
    if run.out:
        jsonl.write(run.out / "scores.jsonl", scores)
    return clean(results)


def by_id(records: Sequence[Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in records:
        if record.id in found:
            raise AffectError(f"{path}: id '{record.id}' occurs twice. Keep one row a clip.")
        found[record.id] = record
    return found


def clean(value: Any) -> Any:
    """JSON has no nan: a number that the published rule leaves undefined becomes null."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def readable(results: dict[str, Any]) -> str:
    """One number a line."""
    return "\n".join(f"{name:<18} {shown(value)}" for name, value in results.items())


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if isinstance(value, dict) and {"value", "low", "high", "n"} <= set(value):
        return f"{shown(value['value'])} [{shown(value['low'])}, {shown(value['high'])}] n={value['n']}"
    if isinstance(value, dict) and {"labels", "value"} == set(value):
        return f"{'+'.join(value['labels'])} {shown(value['value'])}"
    if isinstance(value, dict):
        return "; ".join(f"{key} {shown(item)}" for key, item in value.items()) or "none"
    return str(value)


if __name__ == "__main__":
    command(main)
