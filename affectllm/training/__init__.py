"""What the scripts of `train/` are made of."""
