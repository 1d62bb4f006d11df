"""Speech with emotional prosody: espeak-ng out of its Python wheel, then tremolo, harshness and loudness."""

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from random import Random

import numpy as np

from affectllm.errors import AffectError, missing_package
from affectllm.media.audio import RATE_HZ
from affectllm.synthetic.exact import noise, saturate, sine

FULL_SCALE = 32768
"""Of 16-bit samples."""
LONGEST_S = 4.0
LEAD_S = 0.1
# espeak-ng's speak_lib.h: parameters, output mode and text encoding.
SPEED, PITCH, RANGE = 1, 3, 4
SYNCHRONOUS, UTF8 = 2, 1
REINSTALL = "Install its wheel again: pip install --force-reinstall espeakng-loader"


@dataclass(frozen=True)
class Prosody:
    """How something is said, as factors of the speaker's own way unless said otherwise."""

    pitch: float = 1.0
    range: float = 0.8
    speed: float = 1.0
    loudness: float = 0.6
    """Peak of the wave, as a share of full scale."""
    tremolo: float = 0.0
    """Depth of a 6.5 Hz wavering."""
    harshness: float = 0.0
    """Saturation of the voice."""

    def towards(self, other: "Prosody", share: float) -> "Prosody":
        return Prosody(*(a + share * (b - a) for a, b in zip(astuple(self), astuple(other), strict=True)))


PROSODIES = {
    "neutral": Prosody(),
    "happy": Prosody(1.3, 1.7, 1.15, 0.8, 0.0, 0.0),
    "sad": Prosody(0.82, 0.4, 0.68, 0.35, 0.1, 0.0),
    "angry": Prosody(1.08, 1.3, 1.2, 1.0, 0.0, 1.0),
    "fearful": Prosody(1.4, 0.8, 1.35, 0.45, 1.0, 0.0),
    "surprised": Prosody(1.5, 2.0, 0.95, 0.85, 0.0, 0.2),
    "disgusted": Prosody(0.85, 1.2, 0.78, 0.6, 0.2, 0.6),
}


@dataclass(frozen=True)
class Speaker:
    voice: str
    """espeak-ng voice and variant, e.g. en-us+f2."""
    pitch: float
    """Base pitch on espeak's scale of 0 to 99."""
    speed: float
    """Words a minute."""


def draw_speaker(rng: Random, voices: tuple[str, ...], variants: tuple[str, ...]) -> Speaker:
    return Speaker(f"{rng.choice(voices)}+{rng.choice(variants)}", rng.uniform(35, 60), rng.uniform(150, 180))


def speak(sentence: str, speaker: Speaker, prosody: Prosody, rng: Random) -> np.ndarray:
    """A 16 kHz mono wave of at most four seconds with a little silence around: float32 in -1..1, in 16-bit steps."""
    wave, rate_hz = pronounce(
        sentence,
        speaker.voice,
        speed=round(np.clip(speaker.speed * prosody.speed * rng.uniform(0.95, 1.05), 80, 320)),
        pitch=round(np.clip(speaker.pitch * prosody.pitch * rng.uniform(0.95, 1.05), 0, 99)),
        pitch_range=round(np.clip(50 * prosody.range * rng.uniform(0.9, 1.1), 0, 99)),
    )
    wave = resample(wave, rate_hz)
    time_s = np.arange(len(wave)) / RATE_HZ
    wave = wave * (1 - 0.35 * prosody.tremolo * (0.5 + 0.5 * sine(2 * np.pi * 6.5 * time_s)))
    if prosody.harshness:
        wave = saturate(wave * (1 + 3 * prosody.harshness)) / saturate(1 + 1.5 * prosody.harshness)
    peak = prosody.loudness * 0.9 * rng.uniform(0.85, 1.1)
    wave = wave[: int(LONGEST_S * RATE_HZ)] / (np.abs(wave).max() + 1e-6) * peak
    wave = np.pad(wave, int(LEAD_S * RATE_HZ))
    wave = (wave + 0.002 * noise(rng.getrandbits(32), len(wave))) * FULL_SCALE
    return (np.rint(wave).clip(1 - FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE).astype(np.float32)


def resample(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """The wave of 16-bit steps at 16 kHz, float64.

    The filter is rounded to 30 bits, so that its products with 16-bit samples and their sums are exact: the order of
    adding, which differs with the CPU, changes nothing, nor does the last digit of the filter's sines.
    """
    from scipy.signal import firwin, resample_poly

    divisor = math.gcd(rate_hz, RATE_HZ)
    up, down = RATE_HZ // divisor, rate_hz // divisor
    widest = max(up, down)
    # The filter that resample_poly would design by itself.
    taps = firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0))
    return resample_poly(wave.astype(np.float64), up, down, window=np.rint(taps * 2**30) / 2**30)


def pronounce(sentence: str, voice: str, speed: int, pitch: int, pitch_range: int) -> tuple[np.ndarray, int]:
    """espeak-ng's wave as float32 in -1..1, and its rate in Hz. They do not depend on what was spoken before."""
    pieces: list[np.ndarray] = []

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int) -> int:
        if count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    # It has a name, so that it lives as long as the library, which holds a bare pointer to it.
    collector = kind(collect)
    with fresh_library() as (library, rate_hz):
        library.espeak_SetSynthCallback(collector)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise AffectError(
                f"espeak-ng has no voice '{voice}'. Install the version made with: pip install espeakng-loader==0.2.4"
            )
        for parameter, value in ((SPEED, speed), (PITCH, pitch), (RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        text = sentence.encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, 0, 0, UTF8, None, None)
        library.espeak_Synchronize()
    return np.concatenate(pieces).astype(np.float32) / 32768, rate_hz


@contextmanager
def fresh_library() -> Iterator[tuple[ctypes.CDLL, int]]:
    """espeak-ng as if nothing had been spoken yet, and its sample rate; unloaded again at the end.

    The phase of its pitch flutter is a static variable (wavegen.c, AdvanceParameters) that espeak_Terminate leaves
    alone: without unloading, a sentence would sound different after another one. Costs about 5 ms.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise missing_package("Drawing clips", "train") from error
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise AffectError(f"espeak-ng's library cannot be loaded ({error}). {REINSTALL}") from error
    try:
        rate_hz = library.espeak_Initialize(SYNCHRONOUS, 500, espeakng_loader.get_data_path().encode(), 0)
        if rate_hz <= 0:
            raise AffectError(f"espeak-ng did not start (code {rate_hz}). {REINSTALL}")
        # Initialize seeds the breath noise of some variants with the clock.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield library, rate_hz
    finally:
        library.espeak_Terminate()
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
