"""A libk4a of two functions, compiled on the spot: what tells the makers apart, and the firmware versions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = """
#include <stdint.h>
typedef struct { uint32_t major, minor, iteration; } version_t;
typedef struct { version_t rgb, depth, audio, depth_sensor; int build, signature; } hardware_version_t;
int k4a_device_get_version(void *device, hardware_version_t *version) {
  if (*(int *)device != 4711) return 1;
  version->rgb = RGB;
  version->depth = (version_t){1, 6, 80};
  version->audio = (version_t){9, 9, 9};
  return 0;
}
"""
_ORBBEC = "int k4a_device_switch_device_clock_sync_mode(void *device, int mode, uint32_t param) { return 0; }\n"
_MODULE = "int k4a_device_get_version(void *, void *);\nint (*use)(void *, void *) = k4a_device_get_version;\n"


def compile_module(folder: Path, maker: str) -> str:
    """Compile ``maker``'s libk4a and an extension module that is linked to it; return the module's path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to make a libk4a with")
    folder.mkdir(parents=True)
    rgb = "(version_t){0, 0, 0}" if maker == "Orbbec" else "(version_t){1, 6, 110}"
    (folder / "k4a.c").write_text(_SOURCE.replace("RGB", rgb) + (_ORBBEC if maker == "Orbbec" else ""))
    (folder / "module.c").write_text(_MODULE)
    shared = [compiler, "-shared", "-fPIC"]
    subprocess.run([*shared, "k4a.c", "-o", f"libk4a-{maker}.so"], cwd=folder, check=True)
    link = ["-L.", f"-lk4a-{maker}", "-Wl,-rpath,$ORIGIN"]
    subprocess.run([*shared, "module.c", "-o", "k4a_module.so", *link], cwd=folder, check=True)
    return str(folder / "k4a_module.so")
