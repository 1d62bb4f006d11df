"""Checks of data sets, alone and together: leaks, repeats, labels and media. `affectllm data check` prints it."""
