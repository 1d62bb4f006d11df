"""GRPO rewards: the evaluator's scores with TRL's signature, composed by a preset or a YAML file.

functions = rewards.load("strict")
functions[0](prompts=..., completions=[...], target=[...])   # -> one float or None a completion
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from affectllm import vocabulary
from affectllm.errors import AffectError, closest
from affectllm.plugins import object_at
from affectllm.records import Record, Target, problem_of
from affectllm.rewards import terms
from affectllm.rewards.terms import MEASURED, TERMS, Term
from affectllm.vocabulary import Wheels


class TermOptions(Record):
    """One line of a composition."""

    weight: Annotated[float, msgspec.Meta(ge=0, le=10)]
    """Weight in TRL's weighted sum. A term of weight 0 is left out."""
    times: list[str] = []
    """Terms that multiply this one's value, e.g. a penalty for too many labels."""
    gates: list[str] = []
    """Terms that must be above 0 for this one to count."""
    from_step: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Optimiser step from which the term is paid."""
    until_step: Annotated[int, msgspec.Meta(gt=0)] | None = None
    """Step from which it is no longer paid."""


class Overlong(Record):
    """Where the term `overlong` begins to fall, in tokens of the completion."""

    longest: Annotated[int, msgspec.Meta(gt=0)] = 256
    soft: Annotated[int, msgspec.Meta(gt=0)] = 64


class Composition(Record, kw_only=True):
    """What GRPO pays for; see presets.yaml."""

    source: str
    about: str
    protocol: str = "affectllm-1"
    assets: str | None = None
    """Folder of MERTools' wheel files, for its protocols."""
    level: Literal["level1", "level2"] = "level1"
    """Inner or outer ring of the wheels."""
    overlong: Overlong = Overlong()
    terms: Annotated[dict[str, TermOptions], msgspec.Meta(min_length=1)]
    """Terms by name; a term of yours as 'module:function'."""


class Reward:
    """One weighted term as TRL calls it; `weight` goes to TRL's reward_weights."""

    def __init__(self, name: str, options: TermOptions, wheels: Wheels, overlong: Overlong) -> None:
        self.__name__ = name.rpartition(":")[2]
        self.weight = options.weight
        self.options = options
        self.term = term_of(name)
        self.times = [term_of(factor) for factor in options.times]
        self.gates = [term_of(gate) for gate in options.gates]
        self.wheels = wheels
        self.overlong = overlong
        self.measured = MEASURED.get(name)
        """Name of the column with the number that the trainer measures for this term."""
        self.logs_answers = False
        """Whether this term logs what all terms read: labels per answer, and the share that parsed cleanly."""

    def __call__(
        self, completions: Sequence[str | list[dict[str, str]]], target: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        """One value per completion, in the range of the term. None if the term does not apply."""
        step = columns["trainer_state"].global_step if "trainer_state" in columns else 0
        if step < self.options.from_step or (self.options.until_step is not None and step >= self.options.until_step):
            return [None] * len(completions)
        if target is None:
            raise AffectError(
                f"Reward '{self.__name__}' needs the column 'target'; the data set has {sorted(columns)}."
            )
        texts = [text_of(completion) for completion in completions]
        golds = [read_target(gold) for gold in target]
        self.log(texts, golds, columns)
        measured = self.measurements(columns, len(texts))
        return [self.value(*row) for row in zip(texts, golds, measured, strict=True)]

    def value(self, text: str, gold: Target, measured: tuple[float | None, ...] = ()) -> float | None:
        """The term's value times its factors. 0 if a gate is shut."""
        value = self.term(text, gold, self.wheels, *measured)
        if value is None:
            return None
        for gate in self.gates:
            if not gate(text, gold, self.wheels):
                return 0.0
        for factor in self.times:
            value *= factor(text, gold, self.wheels) or 0.0
        return value

    def measurements(self, columns: dict[str, Any], count: int) -> list[tuple[float | None, ...]]:
        if self.measured is None:
            return [()] * count
        if self.measured not in columns:
            raise AffectError(
                f"Reward '{self.__name__}' needs '{self.measured}', which this trainer does not give. "
                "Leave the term out, or train with `affectllm train grpo`."
            )
        found = columns[self.measured]
        if self.measured == "completion_ids":
            from trl.rewards import get_soft_overlong_punishment

            found = get_soft_overlong_punishment(self.overlong.longest, self.overlong.soft)(completion_ids=found)
        return [(value,) for value in found]

    def log(self, texts: Sequence[str], golds: Sequence[Target], columns: dict[str, Any]) -> None:
        """What the trainer shows in addition to the rewards: labels and status of each answer, each factor and gate."""
        if self.logs_answers and "log_metric" in columns:
            read = [terms.read(text) for text in texts]
            columns["log_metric"]("answers/labels", sum(len(answer.labels) for answer in read) / len(read))
            columns["log_metric"]("answers/parsed", sum(answer.status == "ok" for answer in read) / len(read))
        if "log_extra" in columns:
            if self.logs_answers:
                columns["log_extra"]("labels", [", ".join(terms.read(text).labels) for text in texts])
                columns["log_extra"]("status", [terms.read(text).status for text in texts])
            names = (*self.options.times, *self.options.gates)
            for name, factor in zip(names, (*self.times, *self.gates), strict=True):
                values = [factor(*row, self.wheels) for row in zip(texts, golds, strict=True)]
                columns["log_extra"](f"{self.__name__}/{name}", values)


def text_of(completion: str | list[dict[str, str]]) -> str:
    """TRL passes strings or chat lists, depending on the form of the prompt."""
    return completion if isinstance(completion, str) else "".join(turn["content"] for turn in completion)


def read_target(target: Any) -> Target:
    """Gold as it travels in a data set: JSON text, a mapping, or the record itself."""
    if isinstance(target, Target):
        return target
    try:
        return decode_target(target) if isinstance(target, str) else msgspec.convert(target, Target)
    except msgspec.DecodeError as error:
        seen = repr(target)[:80]
        raise AffectError(
            f"Column 'target' holds {seen}, which is not a target: {error}. "
            'It is JSON like {"labels": ["happy"]}, the `target` of a conversation.'
        ) from error


@lru_cache(maxsize=8192)
def decode_target(text: str) -> Target:
    """All completions of a group, and all terms, have the same gold."""
    return msgspec.json.decode(text, type=Target)


def load(name: str) -> list[Callable[..., list[float | None]]]:
    """Reward functions of a preset, of a YAML file, or one function of yours as 'module:function'.

    Unknown names and values out of range are errors here, not at step 400.
    """
    if ":" in name and not Path(name).exists():
        return [object_at(name, "--rewards")]
    composition = read_composition(name)
    for term, options in composition.terms.items():
        for used in (term, *options.times, *options.gates):
            if used not in TERMS and ":" not in used:
                hint = closest(used, TERMS) or f" Known: {', '.join(TERMS)}."
                raise AffectError(f"Rewards '{name}': unknown term '{used}'.{hint}")
            if used in MEASURED and used != term:
                raise AffectError(f"Rewards '{name}': '{used}' is measured by the trainer; it cannot multiply or gate.")
    assets = Path(composition.assets) if composition.assets else None
    wheels = replace(vocabulary.load(composition.protocol, assets), level=composition.level)
    functions = [
        Reward(term, options, wheels, composition.overlong)
        for term, options in composition.terms.items()
        if options.weight
    ]
    if not functions:
        raise AffectError(f"Rewards '{name}': every term has weight 0, so nothing would be learnt.")
    functions[0].logs_answers = True
    return list(functions)


def term_of(name: str) -> Term:
    """A term of the library by its name, or one of yours as 'module:function'."""
    return object_at(name, "The reward term") if ":" in name else TERMS[name]


def read_composition(name: str) -> Composition:
    import yaml

    found = presets()
    if name in found:
        return msgspec.convert(found[name], Composition)
    path = Path(name)
    if not path.is_file():
        raise AffectError(f"No reward preset or file '{name}'. Presets: {', '.join(found)}.")
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Composition)
    except msgspec.ValidationError as error:
        raise AffectError(f"Rewards file {path}, {problem_of(error)}.") from error
    except yaml.YAMLError as error:
        raise AffectError(f"Rewards file {path} is not YAML: {' '.join(str(error).split())}") from error


def presets() -> dict[str, Any]:
    """The compositions that ship with the package, by name."""
    import yaml

    return dict(yaml.safe_load(files("affectllm.rewards").joinpath("presets.yaml").read_text(encoding="utf-8")))
