"""`python -m affectllm` is the `affectllm` command."""

from affectllm.cli import main

main()
