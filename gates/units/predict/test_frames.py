"""Frames of a video: their colours by the stated matrix and range, one verdict each, and the summary of a track."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecdd import Detector
from ecdd.frames import Track, VideoError, read_frames, summarise
from gates.support.drawn_pictures import FAKE, contract, portrait

av = pytest.importorskip("av", reason="not tested here: PyAV, of the extra video, is not installed")
ROOT = Path(__file__).resolve().parents[3]
# Kr and Kb of ITU-R BT.709 and BT.601
WEIGHTS = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}


def film(path: Path, frames: list[Any], *, matrix: int = 2, levels: int = 0, codec: str = "ffv1") -> Path:
    """A file of frames of PyAV or arrays; ``matrix`` and ``levels`` are what the stream states."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.pix_fmt = "yuv444p" if codec == "ffv1" else "yuv420p"
        first = frames[0] if isinstance(frames[0], av.VideoFrame) else av.VideoFrame.from_ndarray(frames[0], "rgb24")
        stream.width, stream.height = first.width, first.height
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        for number, given in enumerate(frames):
            frame = given if isinstance(given, av.VideoFrame) else av.VideoFrame.from_ndarray(given, "rgb24")
            frame.pts = number
            frame.colorspace, frame.color_range = matrix, levels
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain(y: int, u: int, v: int, size: tuple[int, int] = (64, 64)) -> Any:
    frame = av.VideoFrame(*size, "yuv444p")
    for plane, value in zip(frame.planes, (y, u, v), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def rgb_of(y: int, u: int, v: int, matrix: str, levels: str) -> list[float]:
    """By the recommendation's own formula."""
    kr, kb = WEIGHTS[matrix]
    luma, chroma, black = (255, 255, 0) if levels == "full" else (219, 224, 16)
    one, blue, red = (y - black) / luma, (u - 128) / chroma, (v - 128) / chroma
    r, b = one + 2 * (1 - kr) * red, one + 2 * (1 - kb) * blue
    return [255 * value for value in (r, (one - kr * r - kb * b) / (1 - kr - kb), b)]


@pytest.mark.parametrize(("number", "matrix"), [(1, "bt709"), (5, "bt601"), (6, "bt601")])
@pytest.mark.parametrize(("span", "levels"), [(1, "limited"), (2, "full")])
def test_colours_are_those_of_the_stated_matrix_and_range(
    tmp_path: Path, number: int, matrix: str, span: int, levels: str
) -> None:
    (frame,) = read_frames(film(tmp_path / "a.mkv", [plain(120, 90, 160)], matrix=number, levels=span))
    assert (frame.matrix, frame.range, frame.stated) == (matrix, levels, True)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.shape == (64, 64, 3)
    assert np.abs(frame.pixels[30, 30] - np.array(rgb_of(120, 90, 160, matrix, levels))).max() <= 1.5


@pytest.mark.parametrize(("size", "matrix"), [((64, 64), "bt601"), ((64, 720), "bt709")])
def test_what_is_not_stated_is_assumed_as_players_do(tmp_path: Path, size: tuple[int, int], matrix: str) -> None:
    path = film(tmp_path / "a.mkv", [plain(120, 90, 160, size)])
    (frame,) = read_frames(path)
    assert (frame.matrix, frame.range, frame.stated) == (matrix, "limited", False)
    assert np.abs(frame.pixels[30, 30] - np.array(rgb_of(120, 90, 160, matrix, "limited"))).max() <= 1.5
    (named,) = read_frames(path, matrix="bt709", levels="full")
    assert (named.matrix, named.range) == ("bt709", "full")


def test_another_matrix_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "hdr.mkv", [plain(120, 90, 160)], matrix=9, levels=1)
    with pytest.raises(VideoError, match=r"matrix 9 of H\.273"):
        list(read_frames(path))


def test_a_telephone_held_upright(tmp_path: Path) -> None:
    """The matrix of the track says a quarter turn: the stored left edge is shown at the top."""
    stored = np.zeros((64, 96, 3), np.uint8)
    stored[:, :24] = 220
    path = film(tmp_path / "a.mp4", [stored], codec="mpeg4")
    data = path.read_bytes()
    upright = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    turned = b"".join(
        (value % 2**32).to_bytes(4, "big") for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30)
    )
    place = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])
    (frame,) = read_frames(path)
    assert frame.pixels.shape == (96, 64, 3)
    assert frame.pixels[:16].mean() > 150
    assert frame.pixels[40:].mean() < 60


def test_the_documented_loop(tmp_path: Path) -> None:
    """One verdict a frame and a summary a track, as the module's docstring writes it."""
    face = np.asarray(Image.open(io.BytesIO(portrait(1))).convert("RGB"))
    face = face[: face.shape[0] // 2 * 2, : face.shape[1] // 2 * 2]
    path = film(tmp_path / "a.mkv", [face, face, np.full_like(face, 90), face])
    detector = Detector.load("tiny", contract=contract(FAKE))
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[3].seconds == pytest.approx(0.3)
    verdicts = [detector.predict(frame.pixels, name=frame.name) for frame in frames]
    assert [verdict.label for verdict in verdicts] == ["fake", "fake", "abstain", "fake"]
    assert verdicts[1].path == "a.mkv frame 1"
    assert "pixels_given" in verdicts[0].notes
    track = summarise(verdicts)
    assert (track.frames, track.judged, track.labels) == (4, 3, {"fake": 3, "abstain": 1})
    assert (track.at_or_above.events, track.at_or_above.n) == (3, 3)
    assert track.at_or_above.low == pytest.approx(0.025 ** (1 / 3)), "Clopper and Pearson, all of three"
    assert str(track) == "4 frames, 3 judged, 3 at or above t_fake (100%; 29% to 100% if frames were independent)"
    assert [frame.index for frame in read_frames(path, every=3)] == [0, 3]
    assert str(summarise([])) == "0 frames, none judged"
    assert isinstance(summarise(iter(verdicts)), Track)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "a.mp4"
    damaged.write_bytes(b"\0\0\0\x18ftypisom" + bytes(200))
    for path, said in ((damaged, "not a video that can be decoded"), (tmp_path / "none.mp4", "no such file")):
        with pytest.raises(VideoError, match=said):
            list(read_frames(path))
    with pytest.raises(VideoError, match="no such file"):
        read_frames("https://example.org/clip.mp4")
    with pytest.raises(ValueError, match="every is 0"):
        read_frames(damaged, every=0)


def test_frames_are_claimed_nowhere() -> None:
    """Experimental: no public name, no command, no claim; the module says so."""
    import ecdd
    import ecdd.frames
    from ecdd import cli

    assert "Experimental" in str(ecdd.frames.__doc__)
    assert not {"frames", "read_frames"} & set(ecdd.__all__)
    assert not {"video", "frames"} & set(cli.COMMANDS)
    code = "import sys, ecdd.frames; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
