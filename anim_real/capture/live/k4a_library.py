"""Which libk4a lies beneath pyk4a, and what pyk4a does not pass on: firmware versions and USB speed.

Microsoft's library and Orbbec's replacement have the same names and functions, but not the same facts: Orbbec's
answers "not plugged in" about every sync jack. It is known by a function that only it exports.
Sources: OrbbecSDK-K4A-Wrapper 1.9.2 (release notes, ``ob_k4a_impl.cpp``), k4atypes.h, pyk4a 1.5.0 (``pyk4a.cpp``).
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any, Literal

K4aMaker = Literal["Microsoft", "Orbbec"]
_ONLY_ORBBEC = "k4a_device_switch_device_clock_sync_mode"
_DEVICE_CAPSULE = b"pyk4a device handle"  # pyk4a.cpp, CAPSULE_DEVICE_NAME
_DEPTH_CAMERA_USB = ("045e", "097c")  # vendor and product of the Azure Kinect's depth camera
_USB_SPEEDS = {"480": "USB 2", "5000": "USB 3 (5 Gbit/s)", "10000": "USB 3 (10 Gbit/s)"}


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("iteration", ctypes.c_uint32))


class _HardwareVersion(ctypes.Structure):
    """``k4a_hardware_version_t``."""

    _fields_ = (
        ("rgb", _Version),
        ("depth", _Version),
        ("audio", _Version),
        ("depth_sensor", _Version),
        ("firmware_build", ctypes.c_int),
        ("firmware_signature", ctypes.c_int),
    )


def load_k4a(module_file: str | None) -> ctypes.CDLL | None:
    """The library that the extension module at ``module_file`` is linked to; None where it cannot be told.

    Elsewhere than on Windows a module's handle also finds the functions of what it is linked to.
    """
    name = "k4a.dll" if sys.platform == "win32" else module_file
    if name is None:
        return None
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def k4a_maker(library: ctypes.CDLL | None) -> K4aMaker:
    """Whose libk4a this is; Microsoft's where it cannot be told."""
    return "Orbbec" if library is not None and hasattr(library, _ONLY_ORBBEC) else "Microsoft"


def firmware_versions(library: ctypes.CDLL | None, device_capsule: Any) -> tuple[str, str]:
    """Firmware of the colour camera and of the depth camera of an opened device, empty where not told.

    Args:
        library: from ``load_k4a``.
        device_capsule: pyk4a's handle of the opened device, a PyCapsule around a ``k4a_device_t``.
    """
    if library is None or not hasattr(library, "k4a_device_get_version"):
        return "", ""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    try:
        place = get_pointer(device_capsule, _DEVICE_CAPSULE)
    except ValueError:  # no capsule of that name: another pyk4a than the one this was written for
        return "", ""
    handle = ctypes.cast(place, ctypes.POINTER(ctypes.c_void_p)).contents
    version = _HardwareVersion()
    get_version = library.k4a_device_get_version
    get_version.restype, get_version.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(_HardwareVersion))
    if get_version(handle, ctypes.byref(version)) != 0:
        return "", ""
    return _text(version.rgb), _text(version.depth)


def usb_speed(serial: str, *, devices: Path = Path("/sys/bus/usb/devices")) -> str:
    """Speed at which the Azure Kinect of this serial number is plugged in; empty where the system does not tell.

    Args:
        serial: of the device.
        devices: where Linux lists USB devices.
    """
    for device in sorted(devices.glob("*")):
        facts = [_attribute(device, name) for name in ("idVendor", "idProduct", "serial", "speed")]
        if tuple(facts[:2]) == _DEPTH_CAMERA_USB and facts[2] == serial:
            return _USB_SPEEDS.get(facts[3], f"{facts[3]} Mbit/s" if facts[3] else "")
    return ""


def _attribute(device: Path, name: str) -> str:
    try:
        return (device / name).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _text(version: _Version) -> str:
    """``1.6.110``; empty for 0.0.0, which Orbbec's library gives for the colour camera."""
    parts = (version.major, version.minor, version.iteration)
    return ".".join(map(str, parts)) if any(parts) else ""
