"""One file per family of scores: the rule, its statistics, and the metrics of `affectllm eval score` by name."""
