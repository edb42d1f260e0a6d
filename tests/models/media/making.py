"""Clips for the tests, made with the same codecs that callers' clips come from."""

import io
import struct
import zlib
from fractions import Fraction

import av
import numpy as np
from PIL import Image


def picture(width, height, shift=0):
    """Flat patches of colour in a grid of 4 x 2, rolled by `shift` pixels: what is lossy keeps it well, and each turn of it is another."""
    colours = np.array(
        [[200, 40, 40], [40, 180, 60], [50, 70, 210], [230, 230, 225], [25, 25, 30], [210, 160, 125], [128, 128, 128], [240, 200, 40]]
    )
    rows, columns = np.arange(height)[:, None] * 2 // height, np.arange(width)[None] * 4 // width
    return np.roll(colours[rows * 4 + columns].astype(np.uint8), shift, axis=1)


def pictures(count, width=64, height=48):
    return [picture(width, height, 2 * index) for index in range(count)]


def video(
    frames,
    *,
    container="mp4",
    codec="libx264",
    audio=None,
    fps=16,
    times=None,
    late_s=0.0,
    audio_s=None,
    rotate=0,
    mirror=False,
    sample_aspect=None,
    pix="yuv420p",
    matrix=None,
    transfer=None,
    full_range=False,
    options=None,
    mux=None,
):
    """A clip of `frames`; `times` in seconds make the rate vary, `late_s` delays the pictures, `audio` names the encoder of a tone."""
    out = io.BytesIO()
    if codec == "libx265":  # of clips shorter than its delay, x265 4.2 gives decoding times that nobody has set
        options = {"x265-params": "bframes=0:log-level=error"} | (options or {})
    with av.open(out, "w", format=container, options=mux or {}) as output:
        height, width = frames[0].shape[:2]
        stream = output.add_stream(
            codec, fps, options=options or {}, width=width, height=height, pix_fmt=pix, time_base=Fraction(1, 12_000)
        )
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if transfer is not None:
            stream.codec_context.color_trc = transfer
        stream.codec_context.color_range = 2 if full_range else 1
        if rotate or mirror:
            stream.set_display_rotation(rotate, hflip=mirror)
        if sample_aspect is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(sample_aspect)
        sound = None if audio is None else output.add_stream(audio, 48_000, layout="stereo")
        packets = []
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(format=pix, dst_colorspace=5 if matrix is None else matrix, dst_color_range=2 if full_range else 1)
            time = index / fps if times is None else times[index]
            frame.pts, frame.time_base = round((time + late_s) * 12_000), Fraction(1, 12_000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if sound is not None:
            packets += _tone(sound, len(frames) / fps if audio_s is None else audio_s)
        for packet in packets:
            output.mux(packet)
    return out.getvalue()


def sound_only():
    """An MP4 without a picture."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as output:
        for packet in _tone(output.add_stream("aac", 48_000, layout="stereo"), 1):
            output.mux(packet)
    return out.getvalue()


def _tone(stream, seconds):
    packets = []
    size = 1024 if stream.codec_context.name == "aac" else 960
    for start in range(0, int(seconds * 48_000), size):
        wave = 0.3 * np.sin(2 * np.pi * 440 * (start + np.arange(size)) / 48_000)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        if stream.codec_context.format.name != "fltp":
            frame = av.AudioResampler(format=stream.codec_context.format.name, layout="stereo", rate=48_000).resample(frame)[0]
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def sound_packets(data):
    """Codec, and (time in seconds, bytes) of each packet of sound in a clip."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        packets = [(float(packet.pts * packet.time_base), bytes(packet)) for packet in container.demux(stream) if packet.size]
        return stream.codec_context.name, packets


def boxes(data):
    """Names of the top-level boxes of an MP4."""
    position, names = 0, []
    while position < len(data):
        size, name = struct.unpack(">I4s", data[position : position + 8])
        names.append(name.decode())
        position += size
    return names


def png_header(width, height):
    """A PNG that claims a size and has next to no pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def all_frames(chunks):
    """Pixels and times of a stream of frames in one piece each."""
    chunks = list(chunks)
    return np.concatenate([part.pixels for part in chunks]), np.concatenate([part.times_s for part in chunks])


def distance(a, b):
    """Mean absolute difference of two pictures or clips, in steps of 1/255."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def animation(frames, durations_ms, format="WEBP"):
    """An animated WebP (lossless) or GIF of `frames`."""
    out = io.BytesIO()
    first, *others = [Image.fromarray(pixels) for pixels in frames]
    options = {"lossless": True} if format == "WEBP" else {"disposal": 1}
    first.save(out, format, save_all=True, append_images=others, duration=durations_ms, loop=0, **options)
    return out.getvalue()
