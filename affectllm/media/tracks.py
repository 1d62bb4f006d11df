"""Who is in the picture: every face of a clip followed over its frames, with an id and boxes, and who speaks.

Boxes of one frame are joined to the faces seen before by their overlap, all at once (linear assignment), so that two
people who sit side by side keep their ids. A face may be out of sight for a while.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from affectllm.media.audio import RATE_HZ
from affectllm.media.faces import FaceDetector, grey_square

OVERLAP = 0.2
"""Intersection over union from which a box is the face seen before; faces move between sparse frames."""
LOST_FRAMES = 5
"""Number of frames out of sight after which a face that comes back is a new one."""


class Track(NamedTuple):
    """One face over the T frames of a clip."""

    id: int
    """0, 1, ... by size and nearness to the centre over the clip: 0 is the face the clip is about."""
    boxes: np.ndarray
    """(T, 4) left, top, right, bottom in pixels, float32; NaN where the face was not seen"""
    scores: np.ndarray
    """(T,) in 0..1; 0 where it was not seen"""

    @property
    def seen(self) -> np.ndarray:
        """(T,) bool"""
        return self.scores > 0


@dataclass
class Followed:
    boxes: dict[int, np.ndarray] = field(default_factory=dict)
    """Boxes by frame."""
    scores: dict[int, float] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(self.boxes)


def track_faces(frames_THWC: np.ndarray, detector: FaceDetector, least_frames: int = 2) -> list[Track]:
    """The faces of a clip, the main one first. The list is empty if there is none.

    Faces seen in fewer than `least_frames` frames are mostly mistakes; they are left out if the clip is that long.
    """
    followed: list[Followed] = []
    for t, frame in enumerate(frames_THWC):
        found = detector.detect(frame)
        open_tracks = [it for it in followed if t - it.last <= LOST_FRAMES]
        for box, score, track in zip(found.boxes, found.scores, join(found.boxes, open_tracks), strict=True):
            if track is None:
                track = Followed()
                followed.append(track)
            track.boxes[t], track.scores[t] = box, float(score)
    kept = [it for it in followed if len(it.boxes) >= min(least_frames, len(frames_THWC))]
    size = frames_THWC.shape[2], frames_THWC.shape[1]
    kept.sort(key=lambda it: -sum(weight(box, size) for box in it.boxes.values()))
    return [as_track(i, it, len(frames_THWC)) for i, it in enumerate(kept)]


def join(boxes: np.ndarray, tracks: Sequence[Followed]) -> list[Followed | None]:
    """For each box the track it continues, or None for a face not seen before."""
    from scipy.optimize import linear_sum_assignment

    joined: list[Followed | None] = [None] * len(boxes)
    if not len(boxes) or not tracks:
        return joined
    table = np.array([[shared(box, track.boxes[track.last]) for track in tracks] for box in boxes])
    for row, column in zip(*linear_sum_assignment(table, maximize=True), strict=True):
        if table[row, column] >= OVERLAP:
            joined[row] = tracks[column]
    return joined


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    extent = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inside = float(extent.clip(0).prod())
    return inside / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inside)


def weight(box: np.ndarray, size: tuple[int, int]) -> float:
    """A box's area, which counts less away from the centre: the rule of `faces.main_face`."""
    centre = np.array(size) / 2
    distance = np.abs((box[:2] + box[2:]) / 2 - centre) / centre
    return float((box[2:] - box[:2]).prod() * (1 - 0.5 * min(1.0, float(distance.max()))))


def as_track(number: int, followed: Followed, frames: int) -> Track:
    boxes, scores = np.full((frames, 4), np.nan, np.float32), np.zeros(frames, np.float32)
    for t, box in followed.boxes.items():
        boxes[t], scores[t] = box, followed.scores[t]
    return Track(number, boxes, scores)


def speaking(
    tracks: Sequence[Track], frames_THWC: np.ndarray, times_s: np.ndarray, wave: np.ndarray
) -> list[float | None]:
    """How well each face's mouth moves in time with the sound: Pearson's r over the clip, None where it is not known.

    Motion is the change of the lower third of the face crop from frame to frame, less that of the upper part, which
    moves with the head alone; loudness is the sound's root mean square between the two frames. It needs about 5 frames
    a second. A clip without six pairs of frames, or without change in sound or face, gives None.
    """
    bounds = (times_s * RATE_HZ).round().astype(int)
    pieces = [wave[a:b] for a, b in pairwise(bounds)]
    loudness = np.array([np.sqrt(np.mean(np.square(piece))) if len(piece) else 0.0 for piece in pieces])
    return [correlation(mouth_motion(track, frames_THWC), loudness) for track in tracks]


def mouth_motion(track: Track, frames_THWC: np.ndarray) -> np.ndarray:
    """(T - 1,) change of the mouth beyond the head's, in grey levels; NaN before and after the face is seen."""
    boxes = filled(track)
    motion = np.full(max(len(frames_THWC) - 1, 0), np.nan)
    for t, (before, after) in enumerate(pairwise(frames_THWC)):
        # Both frames are cut with one box: boxes tremble more than mouths move.
        box = boxes[t : t + 2].mean(0)
        if not np.isnan(box).any():
            change = np.abs(grey_square(after, box).astype(np.float32) - grey_square(before, box))
            mouth = change.shape[0] * 2 // 3
            motion[t] = change[mouth:].mean() - change[:mouth].mean()
    return motion


def filled(track: Track) -> np.ndarray:
    """The boxes (T, 4) with frames between two sightings filled in on a straight line."""
    seen, moments = np.flatnonzero(track.seen), np.arange(len(track.boxes))
    lines = [np.interp(moments, seen, track.boxes[seen, i], np.nan, np.nan) for i in range(4)]
    return np.stack(lines, 1)


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    known = ~np.isnan(a)
    if known.sum() < 6 or a[known].std() == 0 or b[known].std() == 0:
        return None
    return float(np.corrcoef(a[known], b[known])[0, 1])
