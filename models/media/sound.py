"""The sound of a source clip, muxed beside new pictures."""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain

import av.error
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from models.errors import BadMedia
from models.media.container import opened, pictures_end, sound_of, start_of, why
from models.media.limits import DEFAULT_LIMITS

_FIELD = "the clip with the sound"
_COPIED = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3"})  # players expect these in an MP4, so their packets stay as they are
_AAC_RATES = frozenset({16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
_NEARLY_S = 0.1  # pictures that end this much before the source's are the whole clip


class Sound:
    """Sound of the clip `data`, added to `output` as its own stream; nothing when the clip has none.

    Packets that an MP4 may hold are copied bit by bit, others (Opus, Vorbis…) become AAC. Times stay relative to the clip's start, as
    those of its decoded frames do, so picture and sound stay together.
    """

    def __init__(self, data: bytes, output: OutputContainer, resources: ExitStack) -> None:
        self._output = output
        self._waiting: Packet[AudioStream] | None = None
        self._packets: Iterator[Packet[AudioStream]] = iter(())
        source = resources.enter_context(opened(data, _FIELD, DEFAULT_LIMITS))
        self._source_end_s = pictures_end(source)
        stream = sound_of(source)
        if stream is not None:
            track = _copied if stream.codec_context.name in _COPIED else _transcoded
            self._packets = track(source, stream, output)

    def mux_until(self, time_s: float) -> None:
        """Mux what starts before `time_s`. Raises BadMedia when the sound is broken."""
        try:
            while (packet := self._waiting or next(self._packets, None)) is not None:
                self._waiting = packet
                if packet.pts is not None and float(packet.pts * packet.time_base) >= time_s:
                    return
                self._output.mux_one(packet)
                self._waiting = None
        except (av.error.FFmpegError, ValueError) as error:
            raise BadMedia(f"the sound of the clip is broken ({why(error)}); send the clip without its sound, or whole") from error

    def finish(self, pictures_end_s: float) -> None:
        """Mux the rest: beside the whole clip all of it, also what outlasts the pictures; else to the end of the pictures."""
        self.mux_until(float("inf") if pictures_end_s > self._source_end_s - _NEARLY_S else pictures_end_s)


def _copied(source: InputContainer, stream: AudioStream, output: OutputContainer) -> "Iterator[Packet[AudioStream]]":
    track = output.add_stream_from_template(stream)
    return _moved(source, stream, track)


def _moved(source: InputContainer, stream: AudioStream, track: AudioStream) -> "Iterator[Packet[AudioStream]]":
    for packet in source.demux(stream):
        if packet.pts is None or packet.dts is None or not packet.size or packet.is_corrupt:
            continue
        late = round(start_of(source) / packet.time_base)
        packet.pts -= late
        packet.dts -= late
        packet.stream = track
        yield packet


def _transcoded(source: InputContainer, stream: AudioStream, output: OutputContainer) -> "Iterator[Packet[AudioStream]]":
    rate = stream.sample_rate if stream.sample_rate in _AAC_RATES else 48_000
    layout = "mono" if stream.channels == 1 else "stereo"
    track = output.add_stream("aac", rate, layout=layout, bit_rate=96_000 * (1 if layout == "mono" else 2))
    return _encoded(source, stream, track, rate, layout)


def _encoded(source: InputContainer, stream: AudioStream, track: AudioStream, rate: int, layout: str) -> "Iterator[Packet[AudioStream]]":
    resampler = AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)
    late = round(start_of(source) * rate)
    for frame in chain(source.decode(stream), [None]):
        for piece in resampler.resample(frame):
            piece.time_base = Fraction(1, rate)
            piece.pts = None if piece.pts is None else piece.pts - late
            yield from track.encode(piece)
    yield from track.encode(None)
