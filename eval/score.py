r"""Score predictions against gold labels, with interval, baselines and a list of what was skipped.

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
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from affectllm import jsonl, vocabulary
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.records import Answer, Conversation
from affectllm.scores import registry

if TYPE_CHECKING:
    from affectllm.scores.engine.metric import Metric
    from affectllm.scores.summary import Summary
    from affectllm.vocabulary import Wheels

Protocol = Literal["affectllm-1", "unibench", "mer2024", "ovmer", "mer2025", "mer2026"]
Level = Literal["level1", "level2", "M1", "M2"]


@dataclass(frozen=True)
class Options:
    pred: Annotated[str, tyro.conf.Positional]
    """File of predictions: .npz, .csv or .jsonl."""
    gold: str
    """File of gold labels: .npz (FILE.npz:CORPUS names the corpus in it), .csv or .jsonl."""
    protocol: Protocol = "affectllm-1"
    """Emotion wheels and rules to score by. All but affectllm-1 need --assets."""
    metric: Annotated[str | None, tyro.conf.arg(help=registry.help_text())] = None
    """Name of a declared metric, or module:function. The help lists the names as the declarations have them."""
    assets: Path | None = None
    """Your copy of MERTools' emotion_wheel folder. For mer2024, your copy of its openset-synonym folder."""
    level: Level = "level1"
    """Inner (level1) or outer (level2) ring of the wheels. M1 and M2 are OV-MER's scores without a wheel."""
    split: str | None = None
    """Score only this split of a conversations file."""
    classes: tuple[str, ...] = ()
    """The closed list of emotions, in order where an archive holds them as numbers. Without it, the labels that are
    gold somewhere."""
    scale: Literal["cmu", "sims"] = "cmu"
    """Scale of sentiment strengths: -3..3 as in MOSI and MOSEI (cmu), or -1..1 as in SIMS (sims)."""
    clue_encoder: str | None = None
    """Text encoder with which clue metrics compare statements by meaning: a folder or a hub name, e.g.
    sentence-transformers/all-MiniLM-L6-v2. Without it, their words are compared."""
    cluster: str | None = None
    """Draw whole dialogues or speakers for the interval. Give a field of the gold rows, or an expression on the id
    whose group names the cluster, e.g. '^(.+)_utt'."""
    against: str | None = None
    """Predictions of another model for the same clips. The output then holds the paired difference to them."""
    only_predicted: bool = False
    """Score only the clips that have a prediction, and report how many have none."""
    out: Path | None = None
    """Folder for results.json, and for scores.jsonl of a summary."""
    json: bool = False
    """Print one JSON object instead of one number per line."""


class Files(NamedTuple):
    """What is compared with what."""

    pred: str
    gold: str
    against: str | None
    split: str | None
    only_predicted: bool


class Rules(NamedTuple):
    """How labels and numbers are compared; options of the `Case` that a metric gets."""

    protocol: Protocol
    level: Level
    assets: Path | None
    classes: tuple[str, ...]
    scale: Literal["cmu", "sims"]
    clue_encoder: str | None


def main(options: Options) -> None:
    files = Files(options.pred, options.gold, options.against, options.split, options.only_predicted)
    if options.metric:
        rules = Rules(
            options.protocol, options.level, options.assets, options.classes, options.scale, options.clue_encoder
        )
        results = score_metric(registry.load(options.metric), files, rules, options.cluster)
    else:
        results, scores = summarise_run(files, vocabulary.load(options.protocol, options.assets), options.level)
        if options.out:
            jsonl.write(options.out / "scores.jsonl", scores)
    results = without_nan(results)
    if options.out:
        jsonl.write_json(options.out / "results.json", results)
    print(json.dumps(results, ensure_ascii=False) if options.json else as_lines(results))


def score_metric(metric: "Metric", files: Files, rules: Rules, cluster: str | None) -> dict[str, Any]:
    """One metric as the object that is printed."""
    from affectllm.scores.engine.case import make_case
    from affectllm.scores.engine.evaluate import evaluate, gain
    from affectllm.scores.engine.tables import match, read_table

    wheels = load_wheels(metric, rules)
    gold = read_table(files.gold, rules.classes, files.split, registry.known_fields() | {*metric.fields})
    said = read_table(files.pred, rules.classes, fields=metric.fields)
    ids, missing = match(said, gold, files.only_predicted)
    case = make_case(said, gold, ids, wheels=wheels, **rules._asdict())
    groups = case.clusters(cluster) if cluster else None
    result = evaluate(metric, case, groups)
    found = {key: value for key, value in asdict(result).items() if value is not None}
    results = {"metric": metric.name, "protocol": rules.protocol} | found
    if files.against:
        other = read_table(files.against, rules.classes, fields=metric.fields)
        match(other, dict.fromkeys(ids), only_predicted=False)
        rival = make_case(other, gold, ids, wheels=wheels, **rules._asdict())
        results["difference"] = gain(metric, case, rival, groups)._asdict()
    if groups:
        results["clusters"] = len(set(groups))
    if missing:
        results["skipped"] = result.skipped | {"no prediction": missing}
    # Papers of this field print percent with two digits.
    results["percent"] = round(100 * result.value, 2)
    if wheels:
        results |= {"level": rules.level, "wheels_hash": wheels.hash}
    return results


def load_wheels(metric: "Metric", rules: Rules) -> "Wheels | None":
    """The wheels of the protocol for a metric that needs them; MER2024 has synonyms of each clip instead."""
    if "wheels" not in metric.needs:
        return None
    if rules.protocol != "mer2024":
        return vocabulary.load(rules.protocol, rules.assets)
    if metric.name != "ew":
        raise AffectError(f"MER2024 has no {metric.name}: its one open-vocabulary score is --metric ew.")
    return None


def summarise_run(files: Files, wheels: "Wheels", level: str) -> "Summary":
    """The summary of a run, and the scores of every clip."""
    from affectllm.scores.engine.tables import match
    from affectllm.scores.summary import summarise

    if not (files.pred.endswith(".jsonl") and files.gold.endswith(".jsonl")):
        raise AffectError("Name a --metric, or give answers.jsonl and conversations.jsonl for the summary of a run.")
    conversations = list(jsonl.read(Path(files.gold), Conversation))
    gold = by_id([clip for clip in conversations if files.split in (None, clip.split)], files.gold)
    if not gold:
        raise AffectError(f"{files.gold} has no clip of split '{files.split}'.")
    said = by_id(list(jsonl.read(Path(files.pred), Answer)), files.pred)
    ids, missing = match(said, gold, files.only_predicted)
    summary = summarise([said[it] for it in ids], [gold[it] for it in ids], wheels, level)
    if missing:
        summary.results["skipped"] |= {"no prediction": missing}
    return summary


def by_id(records: Sequence[Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in records:
        if record.id in found:
            raise AffectError(f"{path}: id '{record.id}' occurs twice. Keep one row per clip.")
        found[record.id] = record
    return found


def without_nan(value: Any) -> Any:
    """JSON has no nan: a number that the published rule leaves undefined becomes null."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def as_lines(results: dict[str, Any]) -> str:
    """One number per line."""
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
