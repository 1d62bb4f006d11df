"""`python -m affectllm` is the `affectllm` command."""

from affectllm.commands.cli import main

main()
