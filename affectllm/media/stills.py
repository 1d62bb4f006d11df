"""Pictures without a container: one image, a folder of frames, OpenFace's .npy of face crops."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affectllm.media.limits import Limits, check_picture, check_result, unreadable
from affectllm.media.request import Frames, Request, fit, moments

if TYPE_CHECKING:
    from affectllm.media.source import Kind

# Rate of frames without timestamps: that of OpenFace's output and of the MER clips.
FRAME_RATE = 25.0
IMAGE_NAMES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read(path: Path, kind: "Kind", request: Request, limits: Limits) -> Frames:
    """Frames of a still, a folder or crops; see `decode.read_frames`."""
    if kind == "image":
        picture = read_image(path, request.longest_side, limits)
        return Frames(picture[None], np.zeros(1))
    count, load = open_folder(path, request, limits) if kind == "folder" else open_crops(path, limits)
    first = load(0)
    wanted_s = moments(path, request, np.arange(count) / FRAME_RATE, count / FRAME_RATE, first.size, limits)
    frames = np.empty((len(wanted_s), *first.shape), np.uint8)
    for i, place in enumerate(np.clip(np.floor(wanted_s * FRAME_RATE + 1e-6), 0, count - 1).astype(int)):
        picture = load(int(place))
        if picture.shape != first.shape:
            raise unreadable(
                path,
                f"frame {place} is {picture.shape[:2]}, the first one {first.shape[:2]}",
                "Give frames of one size",
            )
        frames[i] = picture
    return Frames(frames, wanted_s)


def measure(path: Path, kind: "Kind", limits: Limits) -> tuple[int, int, int]:
    """Number of frames, their height and width; reads the first one."""
    request = Request(None, None, None, None, None)
    if kind == "image":
        return 1, *read_image(path, None, limits).shape[:2]
    count, load = open_folder(path, request, limits) if kind == "folder" else open_crops(path, limits)
    return count, *load(0).shape[:2]


def read_image(path: Path, longest_side: int | None, limits: Limits) -> np.ndarray:
    """uint8 (height, width, 3), upright as its EXIF tag says."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            check_picture(path, image.width, image.height, limits)
            upright = ImageOps.exif_transpose(image)
            size = fit(upright.width, upright.height, longest_side)
            rgb = upright.convert("RGB")
            return np.asarray(rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BOX))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, f"the image decoder says '{' '.join(str(error).split())}'", "Fetch it again") from error


def open_folder(path: Path, request: Request, limits: Limits) -> tuple[int, Callable[[int], np.ndarray]]:
    """Number of images in a folder, in the order of the numbers in their names, and a function that reads one."""
    files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_NAMES]
    files.sort(
        key=lambda file: [
            (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", file.name)
        ]
    )
    if not files:
        raise unreadable(path, "it is a folder without images", "Name a clip, or a folder of frames")
    return len(files), lambda i: read_image(files[i], request.longest_side, limits)


def open_crops(path: Path, limits: Limits) -> tuple[int, Callable[[int], np.ndarray]]:
    """Number of crops in an .npy of uint8 (frames, height, width, 3), and a function that reads one."""
    try:
        crops = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise unreadable(
            path, f"it is no plain .npy array ({' '.join(str(error).split())})", "Save it again as uint8"
        ) from error
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[-1] != 3 or not crops.size:
        seen = f"it holds {crops.dtype} {crops.shape}, not uint8 (frames, height, width, 3)"
        raise unreadable(path, seen, "Save the crops in that form")
    check_picture(path, crops.shape[2], crops.shape[1], limits)
    check_result(path, crops[0].size, limits)
    return len(crops), lambda i: np.asarray(crops[i])
