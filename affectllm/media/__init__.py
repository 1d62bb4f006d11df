"""Reads clips the way training reads them: probed, bounded, decoded once, cached by content.

`read_frames`, `read_audio`, `probe`, and `Unreadable` for files that cannot be used; importing this loads no decoder.
"""

from affectllm.media.audio import read_audio
from affectllm.media.decode import Frames, read_frames
from affectllm.media.guard import Guard
from affectllm.media.limits import LIMITS, Limits, Unreadable
from affectllm.media.probe import Probe, probe

__all__ = ["LIMITS", "Frames", "Guard", "Limits", "Probe", "Unreadable", "probe", "read_audio", "read_frames"]
