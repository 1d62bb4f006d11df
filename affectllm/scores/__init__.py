"""Scores of predictions: `engine` is what all share, `families` has one file per family, `summary` is a run's."""
