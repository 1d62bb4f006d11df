"""Where the face is: MTCNN (Zhang et al., arXiv 1604.02878) over a few frames of a clip, and crops that follow it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CROP = 64
LONGEST_SIDE = 480
"""Pixels: larger frames are shrunk before the search, since faces that matter are large in the picture."""
SMALLEST_FACE = 0.12
"""Smallest face, as a share of the frame's shorter side."""
THRESHOLDS = (0.6, 0.7, 0.7)
LOOKED_AT = 2
"""Number of frames that are searched for a face. The others take the box of the nearest one that was searched."""


class Faces(NamedTuple):
    boxes: np.ndarray
    """(n, 4) left, top, right, bottom in pixels of the frame, float32"""
    scores: np.ndarray
    """(n,) in 0..1"""


class FaceCrops(NamedTuple):
    pixels_THW: np.ndarray
    """(T, 64, 64) grey uint8"""
    detected: np.ndarray
    """(T,) bool: False where no face was found and the centre of the frame is taken"""


class ProposalNet(nn.Module):
    """Scores every 12 x 12 window of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 2, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return F.softmax(self.conv4_1(x), 1)[:, 1], self.conv4_2(x)


class RefineNet(nn.Module):
    """Scores and corrects 24 x 24 candidates."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.prelu4(self.dense4(flat(self.prelu3(self.conv3(x)))))
        return F.softmax(self.dense5_1(x), 1)[:, 1], self.dense5_2(x)


class OutputNet(nn.Module):
    """Scores and corrects 48 x 48 candidates; its landmark head is loaded but not used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, 2, ceil_mode=True)
        x = self.prelu5(self.dense5(flat(self.prelu4(self.conv4(x)))))
        return F.softmax(self.dense6_1(x), 1)[:, 1], self.dense6_2(x)


def flat(x: Tensor) -> Tensor:
    """Column by column, as in the Caffe model that the weights come from."""
    return x.permute(0, 3, 2, 1).flatten(1)


class FaceDetector(nn.Module):
    """MTCNN with frozen weights."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = ProposalNet(), RefineNet(), OutputNet()
        self.eval().requires_grad_(False)

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> "FaceDetector":
        detector = cls()
        detector.load_state_dict(state)
        return detector

    @classmethod
    def load(cls, path: Path) -> "FaceDetector":
        from safetensors.torch import load_file

        return cls.from_state_dict(load_file(path))

    def save(self, path: Path) -> None:
        from safetensors.torch import save_file

        save_file(self.state_dict(), path)

    @torch.inference_mode()
    def detect(self, frame_HWC: np.ndarray) -> Faces:
        """The faces in an RGB frame (height, width, 3) uint8, the most certain first."""
        picture = torch.from_numpy(np.ascontiguousarray(frame_HWC)).permute(2, 0, 1)[None].float()
        shrink = min(1.0, LONGEST_SIDE / max(picture.shape[2:]))
        if shrink < 1:
            picture = F.interpolate(picture, scale_factor=shrink, mode="area")
        boxes, scores = self.propose(picture)
        for net, size, threshold, overlap in ((self.rnet, 24, THRESHOLDS[1], 0.7), (self.onet, 48, THRESHOLDS[2], 0.5)):
            if len(boxes):
                boxes, scores = refine(net, picture, boxes, size, threshold, overlap)
        order = scores.argsort(descending=True)
        return Faces((boxes[order] / shrink).numpy(), scores[order].numpy())

    def propose(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Candidate boxes from an image pyramid."""
        shorter = min(picture.shape[2:])
        scale = 12 / max(20.0, SMALLEST_FACE * shorter)
        found_boxes, found_scores = [torch.zeros(0, 4)], [torch.zeros(0)]
        while shorter * scale >= 12:
            size = [int(side * scale) + 1 for side in picture.shape[2:]]
            scores, shifts = self.pnet(standardise(F.interpolate(picture, size, mode="area")))
            rows, columns = torch.nonzero(scores[0] > THRESHOLDS[0], as_tuple=True)
            corner = torch.stack([columns, rows], 1).float() * 2
            boxes = torch.cat([corner + 1, corner + 12], 1) / scale
            surest = scores[0, rows, columns]
            kept = suppress(boxes, surest, 0.5)
            shift = shifts[0, :, rows, columns].T
            found_boxes.append((boxes + shift * (boxes[:, 2:3] - boxes[:, :1]))[kept])
            found_scores.append(surest[kept])
            scale *= 0.709
        boxes, scores = torch.cat(found_boxes), torch.cat(found_scores)
        kept = suppress(boxes, scores, 0.7)
        return boxes[kept], scores[kept]


def refine(
    net: nn.Module, picture: Tensor, boxes: Tensor, size: int, threshold: float, overlap: float
) -> tuple[Tensor, Tensor]:
    """The candidates that the next network of the cascade confirms, with its corrections."""
    boxes = squared(boxes)
    scores, shifts = net(standardise(torch.cat([cut(picture, box, size) for box in boxes.round().int().tolist()])))
    sure = scores > threshold
    boxes, scores, shifts = boxes[sure], scores[sure], shifts[sure]
    extent = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes + shifts * torch.cat([extent, extent], 1)
    kept = suppress(boxes, scores, overlap)
    return boxes[kept], scores[kept]


def standardise(x: Tensor) -> Tensor:
    return (x - 127.5) / 128


def squared(boxes: Tensor) -> Tensor:
    """Each box widened to a square around its centre."""
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return torch.cat([centre - half, centre + half], 1)


def cut(picture: Tensor, box: list[int], size: int) -> Tensor:
    """A box cut out of the picture (1, C, H, W) and scaled to `size`. It is black outside the picture."""
    left, top, right, bottom = box
    high, wide = picture.shape[2:]
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    inside = picture[:, :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    pad = (max(-left, 0), max(right - wide, 0), max(-top, 0), max(bottom - high, 0))
    whole = F.pad(inside, pad) if inside.numel() else picture.new_zeros(1, picture.shape[1], size, size)
    return F.interpolate(whole, (size, size), mode="area")


def suppress(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Indices of the boxes that no more certain one covers by more than `overlap` (intersection over union)."""
    order = scores.argsort(descending=True)
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low = torch.maximum(boxes[first, :2], boxes[rest, :2])
        high = torch.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        area = (boxes[first, 2:] - boxes[first, :2]).prod() + (boxes[rest, 2:] - boxes[rest, :2]).prod(1) - shared
        order = rest[shared <= overlap * area]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)


def crop_faces(frames_THWC: np.ndarray, detector: FaceDetector | None) -> FaceCrops:
    """The largest and most central face of each frame, or the frame's centre if none is found in the clip."""
    T = len(frames_THWC)
    looked = sorted({round((T - 1) * (i + 0.5) / LOOKED_AT) for i in range(min(LOOKED_AT, T))}) if detector else []
    found = {i: main_face(detector.detect(frames_THWC[i]), frames_THWC.shape[1:3]) for i in looked if detector}
    boxes = {i: box for i, box in found.items() if box is not None}
    if not boxes:
        return FaceCrops(np.stack([grey_square(frame, centre_box(frame)) for frame in frames_THWC]), np.zeros(T, bool))
    nearest = [boxes[min(boxes, key=lambda i: abs(i - t))] for t in range(T)]
    return FaceCrops(np.stack([grey_square(f, b) for f, b in zip(frames_THWC, nearest, strict=True)]), np.ones(T, bool))


def main_face(faces: Faces, size: tuple[int, ...]) -> np.ndarray | None:
    """The box with the largest area, which counts less away from the centre."""
    if not len(faces.boxes):
        return None
    centre = np.array([size[1], size[0]]) / 2
    extent = faces.boxes[:, 2:] - faces.boxes[:, :2]
    distance = np.abs((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - centre) / centre
    return faces.boxes[int(np.argmax(extent.prod(1) * (1 - 0.5 * distance.max(1).clip(0, 1))))]


def centre_box(frame_HWC: np.ndarray) -> np.ndarray:
    high, wide = frame_HWC.shape[:2]
    half = min(high, wide) / 2
    return np.array([wide / 2 - half, high / 2 - half, wide / 2 + half, high / 2 + half])


def grey_square(frame_HWC: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A square around the box as (64, 64) grey uint8."""
    from PIL import Image

    grey = Image.fromarray(frame_HWC).convert("L")
    return np.asarray(grey.crop(square_around(box)).resize((CROP, CROP), Image.Resampling.BILINEAR))


def square_around(box: np.ndarray) -> tuple[int, int, int, int]:
    """The box widened to a square around its centre, in whole pixels."""
    half = max(box[2] - box[0], box[3] - box[1]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return round(x - half), round(y - half), round(x + half), round(y + half)
