"""Audio of a clip: mono float32 at one rate, in time with the pictures."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from affectllm.media.limits import LIMITS, Deadline, Limits, check_result, unreadable
from affectllm.media.source import audio_stream, look, open_media, say
from affectllm.media.timeline import Timeline, check_whole, scan

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

RATE_HZ = 16000
"""Samples per second that every model here takes."""
# Timestamps are rounded to their time base, and encoders drift by a frame: smaller gaps are ignored.
GAP_S = 0.1


class Sound(NamedTuple):
    samples: np.ndarray
    """float32 (samples,), mono, from the start of the clip on."""
    cleaned: int
    """Number of samples that were NaN or infinite and are 0 now."""


def read_audio(
    path: Path | str,
    rate_hz: int = RATE_HZ,
    start_s: float | None = None,
    end_s: float | None = None,
    limits: Limits = LIMITS,
) -> np.ndarray | None:
    """float32 (samples,): the audio of the span, mixed down to mono. None if the file has no audio.

    Sample i is heard i / rate_hz seconds after `start_s` (after the clip's start): a track that starts late begins with
    silence, and lost packets leave silence. NaN and infinite samples become 0; `probe(path, verify=True)` counts them.

    Raises Unreadable, which names the file, what was seen and what to do.
    """
    if rate_hz < 1 or not (start_s or 0) >= 0 or (end_s is not None and not end_s > (start_s or 0)):
        raise ValueError(f"audio needs rate_hz >= 1 and 0 <= start_s < end_s, got {rate_hz}, {start_s}, {end_s}")
    path = Path(path)
    if look(path, limits) != "container":
        return None
    sound = decode_sound(path, rate_hz, end_s, limits)
    if sound is None:
        return None
    samples = sound.samples[round((start_s or 0) * rate_hz) :]
    samples = samples if end_s is None else samples[: round((end_s - (start_s or 0)) * rate_hz)]
    if not len(samples):
        seen = f"its audio ends at {len(sound.samples) / rate_hz:.2f} s, and {start_s or 0:.2f} s was asked for"
        raise unreadable(path, seen, "Correct the span of this clip")
    return samples


def decode_sound(path: Path, rate_hz: int, end_s: float | None, limits: Limits) -> Sound | None:
    """The audio from the start of the clip to `end_s` or to its end. None if the file has no audio."""
    deadline = Deadline(path, limits.timeout_s)
    with open_media(path, deadline) as media:
        stream = audio_stream(media)
        if stream is None:
            return None
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            raise unreadable(path, "its audio codec is unknown", "Re-encode its audio, e.g. as AAC")
        timeline = scan(path, media, limits)
        if timeline.audio is None:
            raise unreadable(path, "it announces audio but holds no sample", "Fetch or record it again")
        check_whole(path, timeline, timeline.audio, end_s)
        check_result(
            path,
            4 * min(end_s or np.inf, timeline.end_s(timeline.audio)) * max(rate_hz, stream.codec_context.sample_rate),
            limits,
        )
    with open_media(path, deadline) as media:
        return Mixer(path, media, timeline, limits, deadline).read(rate_hz, end_s)


class Mixer:
    """Decodes one audio stream into one mono signal."""

    def __init__(
        self, path: Path, media: "InputContainer", timeline: Timeline, limits: Limits, deadline: Deadline
    ) -> None:
        self.path, self.media, self.timeline, self.limits, self.deadline = path, media, timeline, limits, deadline
        self.complaint = "it gives no sample"

    def read(self, rate_hz: int, end_s: float | None) -> Sound:
        own_rate, blocks = self.blocks(end_s)
        signal = np.concatenate(blocks)
        bad = ~np.isfinite(signal)
        signal[bad] = 0
        return Sound(resample(signal, own_rate, rate_hz), int(bad.sum()))

    def blocks(self, end_s: float | None) -> tuple[int, list[np.ndarray]]:
        """The file's own sampling rate, and mono pieces to be joined: decoded ones, and silence for what is missing."""
        blocks: list[np.ndarray] = []
        rate, length = 0, 0
        for frame, mono in self.mono():
            rate = rate or frame.sample_rate
            check_result(self.path, 4 * (length + len(mono) * rate / frame.sample_rate), self.limits)
            if frame.sample_rate != rate:
                mono = resample(mono, frame.sample_rate, rate)
            if frame.pts is not None and frame.time_base:
                start = round((float(frame.pts * frame.time_base) - self.timeline.origin_s) * rate)
                if start - length > GAP_S * rate or not blocks:
                    blocks.append(np.zeros(max(0, start - length), np.float32))
                    length += len(blocks[-1])
            blocks.append(mono)
            length += len(mono)
            if end_s is not None and length > (end_s + 1) * rate:
                break
        if not blocks:
            raise unreadable(
                self.path, f"its audio cannot be decoded ({self.complaint})", "Re-encode it, or leave it out"
            )
        return rate, blocks

    def mono(self) -> Iterator[tuple["AudioFrame", np.ndarray]]:
        """Decoded frames and their samples as float32 mono at their own rate."""
        mix, form = None, None
        for frame in self.frames():
            if form != (frame.format.name, frame.layout.name, frame.sample_rate):
                form = (frame.format.name, frame.layout.name, frame.sample_rate)
                mix = mixer(frame)
            assert mix is not None
            mono = mix(frame)
            if len(mono):
                yield frame, mono

    def frames(self) -> Iterator["AudioFrame"]:
        """All decodable frames. A packet that cannot be decoded is skipped, and its error is kept."""
        import av

        stream = audio_stream(self.media)
        assert stream is not None
        packets = self.media.demux(stream)
        ended = False
        while not ended:
            self.deadline.check()
            found: list[AudioFrame] = []
            try:
                packet = next(packets, None)
                ended = packet is None or packet.size == 0
                found = stream.codec_context.decode(None if ended else packet)
            except (av.FFmpegError, OSError) as error:
                self.complaint = f"the decoder says '{say(error)}'"
            yield from found


def mixer(like: "AudioFrame") -> Callable[["AudioFrame"], np.ndarray]:
    """A function that mixes frames of this form down to float32 (samples,): FFmpeg's coefficients, scaled to sum to 1.

    Unscaled, as FFmpeg leaves them for floats, two equal channels would come out 3 dB too loud.
    """
    from av import AudioFrame, AudioResampler

    def mix(frame: AudioFrame) -> np.ndarray:
        pieces = [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        return np.concatenate(pieces) / gain if pieces else np.empty(0, np.float32)

    resampler, gain = AudioResampler(format="flt", layout="mono", rate=like.sample_rate), np.float32(1)
    channels = len(like.layout.channels) or like.layout.nb_channels
    if channels > 1:
        ones = AudioFrame.from_ndarray(np.ones((1, 64 * channels), np.float32), "flt", like.layout.name)
        ones.sample_rate = like.sample_rate
        gain = mix(ones)[32]
        resampler = AudioResampler(format="flt", layout="mono", rate=like.sample_rate)
    return mix


def resample(signal: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """float32 mono at another rate: round(len * to_hz / from_hz) samples, each at its own moment (windowed sinc)."""
    from av import AudioFrame, AudioResampler

    if from_hz == to_hz or not len(signal):
        return signal
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(signal, np.float32)[None], format="flt", layout="mono")
    frame.sample_rate = from_hz
    resampler = AudioResampler(format="flt", layout="mono", rate=to_hz)
    pieces = [piece.to_ndarray()[0] for given in (frame, None) for piece in resampler.resample(given)]
    length = round(len(signal) * to_hz / from_hz)
    joined = np.concatenate([np.empty(0, np.float32), *pieces])[:length]
    return np.pad(joined, (0, length - len(joined)))
