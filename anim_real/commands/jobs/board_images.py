"""Images of a board from a folder or a recording, as grey images with names; colour and infrared.

A folder holds images of one camera (PNG, JPEG, TIFF, BMP); 16-bit ones are taken as infrared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError, DataError, NotFoundError
from anim_real.files import require_file

if TYPE_CHECKING:
    from anim_real.geometry.cameras import Camera

Stream = Literal["color", "ir"]
_ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
_MIN_STEP_S = 0.3  # between captures of a recording: neighbours are the same view


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardImage:
    """One image.

    Attributes:
        name: file name, or number of the capture.
        grey: (H, W) uint8.
    """

    name: str
    grey: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardImages:
    """Images of one camera, read one after the other.

    Attributes:
        source: folder or recording.
        stream: what they are.
        count: how many.
        factory: the device's own camera, where the recording carries one.
    """

    source: Path
    stream: Stream
    count: int
    factory: Camera | None

    def __iter__(self) -> Iterator[BoardImage]:
        """Read the images in order."""
        return self._of_folder() if self.source.is_dir() else self._of_recording()

    def _of_folder(self) -> Iterator[BoardImage]:
        from anim_real.calibrate.boards.detect import grey_of_ir

        for path in image_files(self.source):
            image = _read(path)
            grey = grey_of_ir(image) if self.stream == "ir" else np.asarray(image, np.uint8)
            yield BoardImage(name=path.name, grey=grey)

    def _of_recording(self) -> Iterator[BoardImage]:
        import cv2

        from anim_real.calibrate.boards.detect import grey_of_ir
        from anim_real.capture.recording.k4a_mkv import open_recording

        with open_recording(self.source) as recording:
            for index in _spaced(recording.stamps().time_us):
                frame = recording.capture(index, decode_color=self.stream == "color")
                if self.stream == "ir" and frame.ir is not None:
                    yield BoardImage(name=f"capture {index}", grey=grey_of_ir(frame.ir))
                elif self.stream == "color" and frame.color is not None:
                    grey = np.asarray(cv2.cvtColor(frame.color, cv2.COLOR_RGB2GRAY), np.uint8)
                    yield BoardImage(name=f"capture {index}", grey=grey)


def board_images(source: Path, stream: Literal["both", "color", "ir"]) -> list[BoardImages]:
    """Image series of a folder (one) or a recording (colour, infrared, or both).

    Raises:
        NotFoundError: no such file or folder, or no image in it.
        ConfigError: a folder of 8-bit images asked for as infrared, or the other way round.
        DataError: the recording has no such stream.
    """
    if source.is_dir():
        files = image_files(source)
        found: Stream = "ir" if _read(files[0]).dtype == np.uint16 else "color"
        if stream not in ("both", found):
            raise ConfigError(
                f"holds {'16-bit (infrared)' if found == 'ir' else '8-bit'} images", where=source,
                fix=f"Leave --stream out, or use --stream {found}",
            )  # fmt: skip
        return [BoardImages(source=source, stream=found, count=len(files), factory=None)]
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.capture.recording.k4a_mkv import open_recording

    require_file(source, "recording or folder of images")
    with open_recording(source) as recording:
        factory = parse_calibration(recording.calibration_json, where=f"{source}:calibration.json")
        stamps, info = recording.stamps(), recording.info
        series = []
        wanted: tuple[Stream, ...] = ("color", "ir") if stream == "both" else (stream,)
        for name in wanted:
            times = stamps.color_time_us if name == "color" else stamps.ir_time_us
            num = int((times[_spaced(stamps.time_us)] >= 0).sum())
            if num == 0 and stream == "both":
                continue
            if num == 0:
                raise DataError(f"has no {name} images", where=source, fix="Record that stream too")
            kind, mode = ("color", info.color_mode) if name == "color" else ("depth", info.depth_mode)
            if mode is None:
                raise DataError(f"does not say the mode of its {name} images", where=source)
            series.append(BoardImages(source=source, stream=name, count=num, factory=factory.camera(kind, mode)))
    if not series:
        raise DataError("has neither colour nor infrared images", where=source)
    return series


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder by name; ``NotFoundError`` if there is none."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if not files:
        raise NotFoundError("no images here", where=folder, fix=f"Known endings: {' '.join(sorted(_ENDINGS))}")
    return files


def _read(path: Path) -> NDArray:
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError("cannot be read as an image", where=path, fix="Remove it from the folder")
    return image


def _spaced(time_us: NDArray[np.int64]) -> list[int]:
    """Captures at least ``_MIN_STEP_S`` apart."""
    chosen: list[int] = []
    for index, time in enumerate(time_us.tolist()):
        if not chosen or time - time_us[chosen[-1]] >= _MIN_STEP_S * 1e6:
            chosen.append(index)
    return chosen
