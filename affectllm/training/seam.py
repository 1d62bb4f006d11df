"""All changes inside TRL, in one place.

The rest of the code overrides TRL's methods and reads its attributes where it needs them. tests/training/test_seam.py
lists them all, and says what a new version has changed.
"""

import torch
import trl.trainer.utils as trl_utils

compiles = trl_utils._use_triton


def score_labels_only() -> None:
    """Make TRL's fused head skip positions without a label on a CPU too, as it does on a GPU.

    TRL scores every position where kernels are compiled per shape; a plain CPU has no such kernels, and the
    vocabulary projection is a fifth of a small model's step.
    """
    trl_utils._use_triton = on_cpu_too


def on_cpu_too(device: torch.device) -> bool:
    """Whether positions without a label are skipped on this device."""
    return device.type == "cpu" or compiles(device)
