"""How the SDKs of live cameras are installed on this system, and the errors that say so. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from anim_real.errors import MissingDependencyError

ORBBEC_PYTHON = "ANIM_REAL_ORBBEC_PYTHON"  # names the interpreter that has pyorbbecsdk


def orbbec_python(python: Path | None = None) -> str | None:
    """The interpreter that is given, or that the environment names; None if there is none to run."""
    named = os.environ.get(ORBBEC_PYTHON, "") if python is None else str(python)
    found = shutil.which(str(Path(named).expanduser())) if named else None
    return None if found is None else str(Path(found).absolute())


def kinect_install_line(system: str, machine: str) -> str:
    """How to install pyk4a on this system (``platform.system()``, ``platform.machine()``)."""
    is_arm = machine.lower() in ("aarch64", "arm64")
    if system == "Linux":
        arm = " (the arm64 packages of the same version)" if is_arm else ""
        return (
            f"On Debian/Ubuntu: install libk4a1.4 and libk4a1.4-dev{arm} from packages.microsoft.com/ubuntu/18.04 "
            "and a compiler (sudo apt-get install -y build-essential python3-dev), "
            "then run: pip install 'anim-real[kinect]'"
        )
    if system == "Windows" and not is_arm:
        return (
            "Run the installer of the Azure Kinect SDK 1.4.1 (into C:\\Program Files) and the Visual Studio C++ build "
            "tools, then: pip install 'anim-real[kinect]'"
        )
    return f"The Azure Kinect SDK does not exist for {system} on {machine}: record on Linux or on Windows (x64)"


def orbbec_install_line(system: str, machine: str) -> str:
    """How to make the environment that the ``orbbec`` backend runs in; it is not this one."""
    is_windows = system == "Windows"
    python = r"%USERPROFILE%\orbbec\Scripts\python" if is_windows else "~/orbbec/bin/python"
    create = r"py -3.11 -m venv %USERPROFILE%\orbbec" if is_windows else "python3 -m venv ~/orbbec"
    numpy = '"numpy<2"' if is_windows else "'numpy<2'"
    variable = f"{'set' if is_windows else 'export'} ANIM_REAL_ORBBEC_PYTHON={python}"
    rules = "; on Linux run, once, install_udev_rules.sh of that package as root" if system == "Linux" else ""
    return (
        f"pyorbbecsdk needs an environment of its own: {create} && {python} -m pip install --no-deps pyorbbecsdk2 && "
        f"{python} -m pip install {numpy} (from Python 3.12 on: numpy), then {variable}{rules}"
    )


def missing_pyk4a(reason: str) -> MissingDependencyError:
    """The error of a machine without pyk4a or its native library."""
    return MissingDependencyError(
        f"pyk4a cannot be loaded ({reason})", fix=kinect_install_line(platform.system(), platform.machine())
    )


def missing_orbbec(reason: str) -> MissingDependencyError:
    """The error of a machine without an environment that has pyorbbecsdk."""
    return MissingDependencyError(reason, fix=orbbec_install_line(platform.system(), platform.machine()))
