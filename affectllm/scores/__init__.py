"""Scores of predictions: `engine` holds what all of them share, `families` one file a family, `summary` a whole run."""
