"""Check this machine: Python, packages, system libraries, GPU, disk, shipped files."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anim_real import __version__, resources
from anim_real.capture.live.sdk_install import ORBBEC_PYTHON, orbbec_install_line, orbbec_python
from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, MissingDependencyError
from anim_real.files import require_folder

_REQUIRED = ("numpy", "scipy", "pandas", "numba", "h5py", "pydantic", "tyro", "cv2", "open3d", "igl", "trimesh", "PIL")
_OPTIONAL = {  # module -> (extra, what it is for)
    "torch": ("train", "training and reconstruction"),
    "safetensors": ("train", "weights and checkpoints"),
    "tensorboard": ("train", "training curves"),
    "anny": ("sim", "bodies of the virtual studio"),
    "spconv": (
        "cuda",
        "sparse convolutions on a GPU (not yet run on hardware); without it the pure-torch twin is used",
    ),
    "pyk4a": ("kinect", "live capture from an Azure Kinect; anim-real devices tells whether libk4a is there too"),
}
_DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "igl": "libigl",
    "PIL": "pillow",
}
_SYSTEM_HINT = "On Debian/Ubuntu: sudo apt-get install -y libusb-1.0-0 libgl1 libegl1 libx11-6 libidn2-0 libudev1"
_LOW_DISK_BYTES = 20 * 2**30


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Flags of ``doctor``."""

    folder: Path = Path()
    """Folder whose free disk space is checked."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check: whether it is needed, whether it passed, and what was found."""

    name: str
    is_ok: bool
    is_required: bool
    detail: str


def run(arguments: Arguments, console: Console) -> Result:
    """Run every check; a failed required one raises ``MissingDependencyError`` after all were shown."""
    require_folder(arguments.folder)
    findings = [_python(), *(_package(name) for name in _REQUIRED)]
    findings += [_optional(name, extra, purpose) for name, (extra, purpose) in _OPTIONAL.items()]
    findings += [_orbbec(), _gpu(), _disk(arguments.folder), *_shipped()]
    lines = tuple(
        f"{'ok  ' if f.is_ok else 'FAIL' if f.is_required else '--  '} {f.name:<24} {f.detail}" for f in findings
    )
    broken = [f for f in findings if f.is_required and not f.is_ok]
    if broken:
        for line in lines:
            console.say(line)
        raise MissingDependencyError(
            f"{len(broken)} required checks failed: " + ", ".join(f.name for f in broken), fix=broken[0].detail
        )
    checks = {f.name: {"ok": f.is_ok, "required": f.is_required, "detail": f.detail} for f in findings}
    return Result(record={"version": __version__, "checks": checks}, lines=lines)


def _python() -> Finding:
    detail = f"{platform.python_version()} on {platform.platform()}, anim-real {__version__}"
    return Finding(name="python", is_ok=sys.version_info >= (3, 11), is_required=True, detail=detail)


def _package(name: str) -> Finding:
    try:
        import_module(name)
    except (ImportError, OSError) as error:
        return Finding(name=name, is_ok=False, is_required=True, detail=f"{error}. {_SYSTEM_HINT}")
    return Finding(name=name, is_ok=True, is_required=True, detail=_version(name))


def _optional(name: str, extra: str, purpose: str) -> Finding:
    found = _version(name)
    detail = found if found else f"not installed: {purpose}. pip install 'anim-real[{extra}]'"
    return Finding(name=name, is_ok=bool(found), is_required=False, detail=detail)


def _version(module: str) -> str:
    try:
        return version(_DISTRIBUTIONS.get(module, module))
    except PackageNotFoundError:
        return ""


def _orbbec() -> Finding:
    found = orbbec_python()
    fix = orbbec_install_line(platform.system(), platform.machine())
    detail = found or f"{ORBBEC_PYTHON} names no interpreter: live capture from a Femto Bolt. {fix}"
    return Finding(name="orbbec", is_ok=found is not None, is_required=False, detail=detail)


def _gpu() -> Finding:
    if not _version("torch"):
        return Finding(name="gpu", is_ok=False, is_required=False, detail="unknown: torch is not installed")
    torch: Any = import_module("torch")
    if not torch.cuda.is_available():
        return Finding(name="gpu", is_ok=False, is_required=False, detail="none: everything runs on the CPU, slower")
    return Finding(name="gpu", is_ok=True, is_required=False, detail=torch.cuda.get_device_name(0))


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(name="disk", is_ok=free > _LOW_DISK_BYTES, is_required=False, detail=f"{free / 2**30:.0f} GiB free")


def _shipped() -> list[Finding]:
    from anim_real.rig import load_rig

    checks: dict[str, Callable[[str], object]] = {"rigs": load_rig}
    findings = []
    for kind in ("rigs", "calibration/targets", "calibration/protocols", "training"):
        names = resources.names(kind)
        try:
            for name in names:
                checks.get(kind, lambda name, kind=kind: resources.find(kind, name))(name)
        except AnimRealError as error:
            findings.append(Finding(name=kind, is_ok=False, is_required=True, detail=str(error)))
            continue
        detail = ", ".join(names) or "no file found: the installation is incomplete"
        findings.append(Finding(name=kind, is_ok=bool(names), is_required=True, detail=detail))
    return findings
