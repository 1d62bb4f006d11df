"""A parametric face: who it is (Identity) and what it does (Expression), drawn frame by frame with Pillow."""

import math
from dataclasses import astuple, dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from affectllm.synthetic.exact import sine

Color = tuple[int, int, int]
OVERSAMPLING = 2
"""Drawn at twice the size and shrunk, which smooths the edges."""
SKINS = ((255, 219, 172), (241, 194, 125), (224, 172, 105), (198, 134, 66), (141, 85, 36), (90, 56, 37))
HAIRS = ((30, 20, 15), (90, 56, 20), (190, 150, 70), (120, 120, 120), (150, 50, 20), (10, 10, 10))
BALD = 3


@dataclass(frozen=True)
class Expression:
    """What a face does; 0 is at rest unless said otherwise."""

    smile: float = 0.0
    """Mouth corners: 1 far up, -1 far down."""
    mouth_open: float = 0.05
    mouth_width: float = 1.0
    inner_brow: float = 0.0
    """Inner ends of the eyebrows: 1 raised, -1 lowered."""
    outer_brow: float = 0.0
    eye_open: float = 1.0
    """1 is at rest, 1.5 wide open."""
    head_low: float = 0.0
    nose_wrinkle: float = 0.0

    def towards(self, other: "Expression", share: float) -> "Expression":
        """The expression at this share of the way from this one to the other."""
        return Expression(*(a + share * (b - a) for a, b in zip(astuple(self), astuple(other), strict=True)))


EXPRESSIONS = {
    "neutral": Expression(),
    "happy": Expression(1.0, 0.35, 1.25, 0.1, 0.1, 0.75, 0.0, 0.0),
    "sad": Expression(-0.9, 0.05, 0.85, 0.7, -0.4, 0.6, 0.6, 0.0),
    "angry": Expression(-0.5, 0.15, 0.95, -0.9, 0.2, 0.85, 0.1, 0.3),
    "fearful": Expression(-0.35, 0.45, 1.1, 0.9, 0.3, 1.45, -0.2, 0.0),
    "surprised": Expression(0.05, 1.0, 0.7, 0.8, 0.8, 1.5, -0.2, 0.0),
    "disgusted": Expression(-0.7, 0.2, 0.9, -0.5, -0.1, 0.55, -0.3, 1.0),
}


@dataclass(frozen=True)
class Identity:
    """A person's looks; lengths are shares of the picture's side."""

    skin: Color
    hair: Color
    hair_style: int
    background: Color
    lips: Color
    face_width: float
    face_height: float
    eye_apart: float
    eye_height: float
    eye_size: float
    brow_width: float
    glasses: bool
    beard: bool


def draw_identity(rng: Random) -> Identity:
    skin = rng.choice(SKINS)
    return Identity(
        skin=tuple(min(255, max(0, value + rng.randint(-8, 8))) for value in skin),  # type: ignore[arg-type]
        hair=rng.choice(HAIRS),
        hair_style=rng.randint(0, BALD),
        background=(rng.randint(60, 220), rng.randint(60, 220), rng.randint(60, 220)),
        lips=(rng.randint(140, 200), rng.randint(50, 90), rng.randint(60, 100)),
        face_width=rng.uniform(0.30, 0.38),
        face_height=rng.uniform(0.40, 0.46),
        eye_apart=rng.uniform(0.13, 0.17),
        eye_height=rng.uniform(-0.08, -0.03),
        eye_size=rng.uniform(0.045, 0.06),
        brow_width=rng.uniform(2, 5),
        glasses=rng.random() < 0.25,
        beard=rng.random() < 0.2,
    )


def draw_face(person: Identity, expression: Expression, time_s: float, loudness: float, size: int) -> np.ndarray:
    """One frame (size, size, 3) uint8; `loudness` in 0..1 opens the mouth in time with the speech."""
    side = size * OVERSAMPLING
    image = Image.new("RGB", (side, side), person.background)
    pen = ImageDraw.Draw(image)
    x = side / 2 + side * 0.012 * sine(2 * time_s + 50 * person.face_width)
    y = side * 0.53 + side * 0.01 * sine(3.1 * time_s) + side * 0.03 * expression.head_low
    draw_head(pen, person, x, y, side)
    eye_y, eye = y + person.eye_height * side, person.eye_size * side
    blinking = time_s % 2.3 <= 0.12
    for sign in (-1, 1):
        eye_x = x + sign * person.eye_apart * side
        draw_eye(pen, person, expression, eye_x, eye_y, eye, 0.1 if blinking else 1.0)
        draw_brow(pen, person, expression, eye_x, eye_y, eye, sign)
    draw_nose(pen, person, expression, x, eye_y, eye, y + 0.07 * side, side)
    draw_mouth(pen, person, expression, x, y + 0.20 * side, loudness, side)
    return np.asarray(image.reduce(OVERSAMPLING))


def draw_head(pen: ImageDraw.ImageDraw, person: Identity, x: float, y: float, side: int) -> None:
    wide, high = person.face_width * side, person.face_height * side
    if person.hair_style != BALD:
        low = (0.2, 0.95, 0.5)[person.hair_style]
        pen.ellipse([x - wide * 1.12, y - high * 1.15, x + wide * 1.12, y + high * low], fill=person.hair)
    pen.ellipse([x - wide, y - high, x + wide, y + high], fill=person.skin)
    if person.hair_style != BALD:
        pen.pieslice([x - wide * 1.02, y - high * 1.05, x + wide * 1.02, y - high * 0.2], 180, 360, fill=person.hair)
    if person.beard:
        beard = mixed(person.skin, person.hair, 0.4)
        pen.chord([x - wide * 0.8, y, x + wide * 0.8, y + high * 0.98], 20, 160, fill=beard)


def draw_eye(
    pen: ImageDraw.ImageDraw, person: Identity, expression: Expression, x: float, y: float, eye: float, lid: float
) -> None:
    high = eye * 0.62 * expression.eye_open * lid
    pen.ellipse([x - eye, y - high, x + eye, y + high], fill=(250, 250, 250), outline=(40, 30, 30))
    pupil = min(eye * 0.42, high)
    pen.ellipse([x - pupil, y - pupil, x + pupil, y + pupil], fill=(50, 35, 25))
    if person.glasses:
        ring = [x - eye * 1.5, y - eye * 1.3, x + eye * 1.5, y + eye * 1.3]
        pen.ellipse(ring, outline=(20, 20, 20), width=2 * OVERSAMPLING)
    if expression.smile > 0.5:  # the cheek that a smile lifts
        pen.arc([x - eye * 1.3, y + eye * 0.6, x + eye * 1.3, y + eye * 1.6], 200, 340, fill=shaded(person.skin))


def draw_brow(
    pen: ImageDraw.ImageDraw, person: Identity, expression: Expression, x: float, eye_y: float, eye: float, sign: int
) -> None:
    y, inner, outer = eye_y - eye * 1.55, x - sign * eye * 1.2, x + sign * eye * 1.2
    middle = y - (expression.inner_brow + expression.outer_brow) * eye * 0.35 - eye * 0.15
    points = [
        (inner, y - expression.inner_brow * eye * 0.75),
        ((inner + outer) / 2, middle),
        (outer, y - expression.outer_brow * eye * 0.6),
    ]
    color = (60, 40, 30) if person.hair_style == BALD else person.hair
    pen.line(points, fill=color, width=int(person.brow_width * OVERSAMPLING), joint="curve")


def draw_nose(
    pen: ImageDraw.ImageDraw,
    person: Identity,
    expression: Expression,
    x: float,
    eye_y: float,
    eye: float,
    tip_y: float,
    side: int,
) -> None:
    dark, wide = shaded(person.skin), 0.02 * side
    pen.line([(x, eye_y + eye * 0.6), (x - wide, tip_y), (x + wide, tip_y)], fill=dark, width=2 * OVERSAMPLING)
    if expression.nose_wrinkle > 0.25:
        for line in range(3):
            y = eye_y + eye * (0.2 + 0.35 * line)
            width = OVERSAMPLING + round(expression.nose_wrinkle)
            pen.line([(x - 1.25 * wide, y), (x + 1.25 * wide, y)], fill=dark, width=width)


def draw_mouth(
    pen: ImageDraw.ImageDraw, person: Identity, expression: Expression, x: float, y: float, loudness: float, side: int
) -> None:
    half = 0.11 * side * expression.mouth_width
    opening = (max(0.0, expression.mouth_open) * 0.07 + loudness * 0.045) * side
    bend = expression.smile * 0.055 * side
    across = np.linspace(-1, 1, 15)
    line = y - bend * (across**2 - 0.35)
    upper, lower = line - opening * 0.5 * (1 - across**2), line + opening * (1 - across**2)
    fill_between(pen, x + half * across, upper, lower, (70, 20, 25))
    if expression.smile > 0.4 and opening > 0.02 * side:  # teeth
        fill_between(pen, x + half * across, upper, lower - opening * 0.9, (245, 245, 240))
    outline = np.stack([x + half * np.append(across, across[::-1]), np.append(upper, lower[::-1])], 1)
    pen.line([*map(tuple, outline), tuple(outline[0])], fill=person.lips, width=2 * OVERSAMPLING + 1)


def fill_between(pen: ImageDraw.ImageDraw, x: np.ndarray, one: np.ndarray, other: np.ndarray, color: Color) -> None:
    """Fill between two curves, pixel by pixel: before 11.3, Pillow fills a polygon that crosses itself differently."""
    columns = np.arange(math.ceil(x[0]), math.floor(x[-1]) + 1)
    ends = np.rint([np.interp(columns, x, one), np.interp(columns, x, other)]).astype(int)
    top, bottom = ends.min(0), ends.max(0)
    rows = np.arange(top.min(), bottom.max() + 1)[:, None]
    inside = (top <= rows) & (rows <= bottom)
    pen.bitmap((int(columns[0]), int(rows[0, 0])), Image.fromarray(np.uint8(255) * inside), fill=color)


def shaded(color: Color) -> Color:
    return mixed(color, (0, 0, 0), 0.28)


def mixed(a: Color, b: Color, share: float) -> Color:
    return tuple(int((1 - share) * x + share * y) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]
