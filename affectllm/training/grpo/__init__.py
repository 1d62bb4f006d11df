"""GRPO over conversations with clips: `trainer.py` overrides TRL's trainer, the other files hold what it calls."""
