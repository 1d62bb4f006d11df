"""The metrics of `affectllm eval score` by name, each with its interval and what a blind answer gets."""

from affectllm.scores import calibration, confusion, dimensional, multi_label, sentiment, soft_labels
from affectllm.scores.metrics import classes, evidence, strengths, wheels
from affectllm.scores.metrics.case import Case, Measured, Metric, Result, evaluate, gain, make_case

__all__ = ["METRICS", "NEED_WHEELS", "Case", "Measured", "Metric", "Result", "evaluate", "gain", "make_case"]

METRICS: dict[str, Metric] = {
    "ew": wheels.ew,
    "hit_rate": wheels.hit_rate,
    "mscore": wheels.mscore,
    "sentiment": strengths.sign,
    **{name: classes.one_class(statistic) for name, statistic in confusion.STATISTICS.items()},
    **{f"multi_{name}": classes.label_sets(name) for name in multi_label.STATISTICS},
    "map": classes.mean_average_precision,
    "mcq": classes.mcq,
    "statements": classes.statements(balanced=False),
    "statements_balanced": classes.statements(balanced=True),
    "preference_waf": classes.preferences(confusion.weighted_f1, "strict"),
    "preference_accuracy": classes.preferences(confusion.accuracy, "strict"),
    "preference_waf_mer2026": classes.preferences(confusion.weighted_f1, "mer2026"),
    "preference_accuracy_mer2026": classes.preferences(confusion.accuracy, "mer2026"),
    "swap_consistency": classes.swap_consistency,
    "acc2": strengths.strength(strengths.two_signs(confusion.accuracy)),
    "acc2_nonnegative": strengths.strength(strengths.two_sides(confusion.accuracy)),
    "f1": strengths.strength(strengths.two_signs(confusion.weighted_f1)),
    "f1_nonnegative": strengths.strength(strengths.two_sides(confusion.weighted_f1)),
    **{name: strengths.strength(strengths.in_steps(name)) for name in sentiment.CMU_LIMITS},
    "mae": strengths.strength(strengths.moments(dimensional.mae), lower_is_better=True),
    "corr": strengths.strength(strengths.moments(dimensional.pearson)),
    "ccc": strengths.strength(strengths.moments(dimensional.ccc)),
    "ordinal_accuracy": strengths.strength(strengths.within(0)),
    "ordinal_within_1": strengths.strength(strengths.within(1)),
    **{
        f"{name}_{score}": strengths.dimension(name, strengths.moments(statistic), score == "mae")
        for name in strengths.DIMENSIONS
        for score, statistic in (("ccc", dimensional.ccc), ("corr", dimensional.pearson), ("mae", dimensional.mae))
    },
    **{name: strengths.soft(name) for name in soft_labels.STATISTICS},
    **{name: evidence.calibrated(name) for name in calibration.STATISTICS},
    **{
        f"conflict_{name}": evidence.conflicting(name) for name in ("video", "audio", "consistent", "gap", "preference")
    },
    **{f"cause_{name}": evidence.causes(name) for name in ("weighted_f1", "micro_f1")},
    **{f"clue_{name}": evidence.clues(name) for name in ("visual", "audio", "text")},
    **{f"clue_{name}": evidence.clue_overlap(name) for name in ("precision", "recall", "f1")},
    **{name: evidence.agreement(name) for name in ("eea", "epc", "fcr")},
    "label_overlap": evidence.agreement("overlap"),
    **{f"step_{name}": evidence.rated(name) for name in ("recognition", "reasoning", "cot")},
    "trigger_recall": evidence.triggers,
}
NEED_WHEELS = {
    *("ew", "hit_rate", "mscore", "eea", "epc", "fcr", "label_overlap"),
    *calibration.STATISTICS,
    *(name for name in METRICS if name.startswith("conflict_")),
}
"""Score predictions against gold labels on emotion wheels."""
