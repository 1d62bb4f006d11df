"""Questions with answers to choose from: multiple choice, true or false statements, lists of triggers."""

import numpy as np

from affectllm import answers
from affectllm.errors import AffectError
from affectllm.scores.engine.baselines import Constant
from affectllm.scores.engine.case import Case, Measured
from affectllm.scores.engine.metric import metric
from affectllm.scores.engine.uncertainty import Statistic, Values, drawn_mean, drawn_sums, mean_of, value_of_sums
from affectllm.scores.families.steps import mean_of_ratings

TRUTH = "`truth`: true or false"
SAID_TRUTH = "`truth` or text"


@metric("mcq", gold="`choice` and `options`", predictions="`choice` or text", reads=("choice", "options"))
def mcq(case: Case) -> Measured:
    """Share of questions answered with exactly the right letter or letters."""
    gold = [letters(str(it)) for it in case.gold_field("choice", "the right letter, or several as 'B,C'")]
    options = [int(it) for it in case.gold_field("options", "how many options the question has")]
    said = [str(row.cells["choice"]) if row.cells.get("choice") else None for row in case.said_rows]
    said = [mine or parsed.choice for mine, parsed in zip(said, case.parsed, strict=True)]
    right = [letters(a) == b for a, b in zip(said, gold, strict=True)]
    known = sorted({letter for its in gold for letter in its})
    chance = np.mean([1 / n if len(its) == 1 else 0.0 for its, n in zip(gold, options, strict=True)])
    return Measured(
        drawn_mean(np.asarray(right, float)),
        n=len(gold),
        constants=[Constant([it], float(np.mean([its == {it} for its in gold]))) for it in known],
        chance=float(chance),
        failures=sum(it is None for it in said),
    )


def letters(choice: str | None) -> frozenset[str]:
    return frozenset(part.strip().upper() for part in choice.split(",") if part.strip()) if choice else frozenset()


@metric("statements", gold=TRUTH, predictions=SAID_TRUTH, reads=("truth",))
def statements(case: Case) -> Measured:
    """Share of statements judged rightly; an answer that says neither true nor false is wrong."""
    return score_statements(case, accuracy)


@metric("statements_balanced", gold=TRUTH, predictions=SAID_TRUTH, reads=("truth",))
def statements_balanced(case: Case) -> Measured:
    """Mean of the accuracies on true and on false statements: 0.5 for judging all alike."""
    return score_statements(case, balanced_accuracy)


def score_statements(case: Case, statistic: Statistic) -> Measured:
    truth = np.array([as_truth(it) for it in case.gold_field("truth", "true or false")])
    said = [judgement(row.cells.get("truth"), row.text) for row in case.said_rows]
    right = np.array([a is not None and a == b for a, b in zip(said, truth, strict=True)], float)

    def columns(right: Values) -> Values:
        return np.stack([right * truth, right * ~truth, truth, ~truth], 1).astype(float)

    return Measured(
        drawn_sums(columns(right), statistic),
        n=len(truth),
        constants=[
            Constant([str(side).lower()], value_of_sums(columns((truth == side) * 1.0), statistic))
            for side in (True, False)
        ],
        chance=0.5,
        failures=sum(it is None for it in said),
    )


def accuracy(sums: Values) -> Values:
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


@metric("trigger_recall", gold="-", predictions='`rating` "found / total", or text with it', reads=("rating",))
def trigger_recall(case: Case) -> Measured:
    """Mean over clips of the share of reference triggers found, from a judge's `found / total`, in 0..1."""
    values = []
    for name, row in zip(case.ids, case.said_rows, strict=True):
        rating = answers.read_rating(str(row.cells.get("rating", row.text or "")))
        found, total = rating or (0.0, None)
        if not total:
            values.append(np.nan)
            continue
        if not 0 <= found <= total:
            raise AffectError(f"The rating of '{name}' says {found:g} of {total:g} triggers.")
        values.append(found / total)
    return mean_of_ratings(values)
