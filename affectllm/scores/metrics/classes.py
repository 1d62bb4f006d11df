"""Metrics of closed answers: one class a clip, several classes, letters, statements, preferences."""

from collections.abc import Callable, Sequence

import numpy as np

from affectllm.errors import AffectError
from affectllm.scores import baselines, choice, confusion, multi_label, preference
from affectllm.scores.baselines import Constant
from affectllm.scores.metrics.case import Case, Measured, Metric, only
from affectllm.scores.uncertainty import Statistic, Values, mean_of, of_sums, value_of, with_count


def one_class(statistic: Statistic) -> Metric:
    """A score of the confusion table; of several labels said, the first is the answer."""

    def metric(case: Case) -> Measured:
        gold = case.gold_word
        classes = sorted(case.classes or set(gold))
        if outside := set(gold) - set(classes):
            raise AffectError(f"Gold holds {sorted(outside)}, not among --classes {' '.join(classes)}.")

        def score(said: Sequence[str]) -> float:
            return float(statistic(confusion.columns(said, gold, classes).sum(0)[None])[0])

        said = [labels[0].strip().lower() if labels else "" for labels in case.said]
        return Measured(
            of_sums(confusion.columns(said, gold, classes), statistic),
            n=len(gold),
            constants=[Constant([name], score([name] * len(gold))) for name in classes],
            chance=baselines.random_answers([[word] for word in gold], lambda rows: score([row[0] for row in rows])),
        )

    return metric


def label_sets(name: str) -> Metric:
    """A score of label sets from a closed list: --classes, or all labels that are gold somewhere."""
    statistic = multi_label.STATISTICS[name]

    def metric(case: Case) -> Measured:
        said, gold = clean(case.said), clean(case.gold)
        classes = list(case.classes) or sorted({label for labels in gold for label in labels})
        columns = multi_label.columns(said, gold, classes)

        def score(answers: multi_label.Sets) -> float:
            return float(statistic(multi_label.columns(answers, gold, classes).sum(0)[None])[0])

        sign = -1 if name == "hamming" else 1
        found = baselines.best_constants(
            gold, lambda labels: sign * score([labels] * len(gold)), candidates=CONSTANT_CLASSES
        )
        return Measured(
            of_sums(columns, statistic),
            n=len(gold),
            constants=[Constant([], score([[]] * len(gold)))] + [Constant(it.labels, sign * it.value) for it in found],
            chance=baselines.random_answers(gold, score),
            lower_is_better=name == "hamming",
        )

    return metric


# Exchanging words among more classes than this takes minutes and changes little: classes are tried by frequency.
CONSTANT_CLASSES = 12


def clean(sets: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[label.strip().lower() for label in labels] for labels in sets]


def mean_average_precision(case: Case) -> Measured:
    """mAP of `scores` {label: number} of the predictions; a label without a number stands behind all others."""
    gold = clean(case.gold)
    classes = list(case.classes) or sorted({label for labels in gold for label in labels})
    given = case.given("scores", "mAP ranks clips by a number per label")
    table = np.array([[float(row.get(label, -np.inf)) for label in classes] for row in given])
    truth = np.array([[label in labels for label in classes] for labels in gold], bool)
    constant = value_of(multi_label.ranked(np.zeros(table.shape), truth), len(gold))
    return Measured(
        multi_label.ranked(table, truth), n=len(gold), constants=[Constant(["all alike"], constant)], failures=0
    )


def mcq(case: Case) -> Measured:
    """Share of questions answered with exactly the right letters; gold holds `choice` and the number of `options`."""
    gold = [choice.letters(str(it)) for it in case.wanted("choice", "the right letter, or several as 'B,C'")]
    options = [int(it) for it in case.wanted("options", "how many options the question has")]
    said = [str(row.cells["choice"]) if row.cells.get("choice") else None for row in case.said_rows]
    said = [mine or parsed.choice for mine, parsed in zip(said, case.parsed, strict=True)]
    right = [choice.letters(a) == b for a, b in zip(said, gold, strict=True)]
    letters = sorted({letter for its in gold for letter in its})
    chance = np.mean([1 / n if len(its) == 1 else 0.0 for its, n in zip(gold, options, strict=True)])
    return Measured(
        of_sums(with_count(np.asarray(right, float))),
        n=len(gold),
        constants=[Constant([it], float(np.mean([its == {it} for its in gold]))) for it in letters],
        chance=float(chance),
        failures=sum(it is None for it in said),
    )


def statements(balanced: bool) -> Metric:
    """Accuracy on true and false statements, gold `truth`; an answer that says neither is wrong."""

    def metric(case: Case) -> Measured:
        truth = np.array([as_truth(it) for it in case.wanted("truth", "true or false")])
        said = [judgement(row.cells.get("truth"), row.text) for row in case.said_rows]
        right = np.array([a is not None and a == b for a, b in zip(said, truth, strict=True)], float)

        def columns(right: Values) -> Values:
            return np.stack([right * truth, right * ~truth, truth, ~truth], 1).astype(float)

        statistic: Statistic = balanced_accuracy if balanced else plain_accuracy
        return Measured(
            of_sums(columns(right), statistic),
            n=len(truth),
            constants=[
                Constant([str(side).lower()], float(statistic(columns((truth == side) * 1.0).sum(0)[None])[0]))
                for side in (True, False)
            ],
            chance=0.5,
            failures=sum(it is None for it in said),
        )

    return metric


def plain_accuracy(sums: Values) -> Values:
    return mean_of(np.stack([sums[:, 0] + sums[:, 1], sums[:, 2] + sums[:, 3]], 1))


def balanced_accuracy(sums: Values) -> Values:
    """Mean of the accuracies on true and on false statements, of the one side where the other does not occur."""
    shares = np.divide(sums[:, :2], sums[:, 2:], out=np.zeros((len(sums), 2)), where=sums[:, 2:] > 0)
    sides = (sums[:, 2:] > 0).sum(1)
    return np.divide(shares.sum(1), sides, out=np.full(len(sums), np.nan), where=sides > 0)


def as_truth(value: object) -> bool:
    found = judgement(value, None)
    if found is None:
        raise AffectError(f"Gold 'truth' is {value!r}, not true or false.")
    return found


def judgement(value: object, text: str | None) -> bool | None:
    """True or false as a field or as an answer's first word; None for anything else."""
    words = str(value if value is not None else text or "").strip().lower().strip(".!。 *\"'").replace(",", " ").split()
    return {
        "true": True,
        "yes": True,
        "是": True,
        "对": True,
        "false": False,
        "no": False,
        "否": False,
        "错": False,
    }.get(words[0] if words else "")


def preferences(statistic: Callable[[Values], Values], rule: preference.Rule) -> Metric:
    """Which description is preferred; clips that people found equally good do not count."""

    def metric(case: Case) -> Measured:
        gold = case.wanted("preference", "a1, a2 or same")
        said = chosen(case)
        kept = [i for i, it in enumerate(gold) if it != "same"]
        wanted = [gold[i] for i in kept]
        columns = preference.columns([said[i] or "" for i in kept], wanted, rule)

        def constant(name: str) -> Constant:
            return Constant(
                [name],
                float(statistic(preference.columns([name] * len(kept), wanted, rule).sum(0)[None])[0]),
            )

        return Measured(
            only(of_sums(columns, statistic), kept),
            n=len(kept),
            constants=[constant("a1"), constant("a2")],
            failures=sum(it is None for it in said),
            skipped={"people found both equally good": len(gold) - len(kept)} if len(kept) < len(gold) else {},
        )

    return metric


def swap_consistency(case: Case) -> Measured:
    """Share of pairs whose answer follows the description when both change places: ids X and X_swap."""
    said = dict(zip(case.ids, chosen(case), strict=True))
    pairs = {name: f"{name}_swap" for name in case.ids if f"{name}_swap" in said}
    if not pairs:
        raise AffectError("No clip has a swapped copy: ids X and X_swap are needed, see `build emoprefer --swap`.")
    follows = [
        float(preference.SWAPPED.get(said[pairs[name]] or "", "?") == said[name]) if name in pairs else np.nan
        for name in case.ids
    ]
    return Measured(
        of_sums(with_count(follows)),
        n=len(pairs),
        constants=[Constant(["a1"], 0.0), Constant(["same"], 1.0)],
        failures=sum(it is None for it in said.values()),
    )


def chosen(case: Case) -> list[str | None]:
    """The preference of every answer, from its field or its text."""
    rows = zip(case.said_rows, case.parsed, strict=True)
    return [row.cells.get("preference") or parsed.preference for row, parsed in rows]
