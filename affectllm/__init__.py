"""Teach and judge video-audio-text LLMs that say which emotions a person shows, and why.

import affectllm
affectllm.load("runs/quickstart/grpo").explain("clip.mp4")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectllm.explain import Explainer

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(path: str, **options: Any) -> "Explainer":
    """A model that explains clips: see `affectllm.explain.load`."""
    from affectllm.explain import load as load_explainer

    return load_explainer(path, **options)
