"""What can be wrong with data sets together: leaks, repeats, labels and media. `affectllm data check` prints it."""
