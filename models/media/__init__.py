"""Bytes to frames and back: the only place that knows of containers, codecs and picture files.

Everything runs in memory: no temporary file, no URL, no protocol is ever opened. Headers are read and limits checked before pixels.
"""

from models.media.dataurl import as_data_url, data_url
from models.media.decode import decode
from models.media.encode import Encoding, encode
from models.media.h264 import video_codec
from models.media.image import read_image, write_image
from models.media.limits import Limits
from models.media.probe import ClipInfo, probe
from models.media.sniff import Format, content_type, sniff

__all__ = [
    "ClipInfo",
    "Encoding",
    "Format",
    "Limits",
    "as_data_url",
    "content_type",
    "data_url",
    "decode",
    "encode",
    "probe",
    "read_image",
    "sniff",
    "video_codec",
    "write_image",
]
