"""The wheel: built, installed in a fresh venv outside the checkout, and used from the root folder."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts folder of a fresh venv that holds our wheel; the dependencies are borrowed from this one."""
    base = tmp_path_factory.mktemp("packaging")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(base / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (base / "dist").glob("anim_real-*.whl")
    venv.create(base / "venv", with_pip=False, symlinks=True)
    python = base / "venv" / "bin" / "python"
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    # A .pth line adds our dependencies behind the fresh site-packages; it does not follow editable installs.
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def _run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "anim-real"), *arguments], capture_output=True, text=True, cwd="/", check=False
    )


def test_the_wheel_is_what_runs(installed: Path) -> None:
    code = "import anim_real; print(anim_real.__file__)"
    answer = subprocess.run(
        [str(installed / "python"), "-c", code], capture_output=True, text=True, cwd="/", check=True
    )
    assert Path(answer.stdout.strip()).is_relative_to(installed.parent)


def test_help_and_doctor_from_the_root_folder(installed: Path) -> None:
    assert _run(installed, "--help").returncode == 0
    answer = _run(installed, "doctor", "--json")
    assert answer.returncode == 0, answer.stderr
    checks = json.loads(answer.stdout)["checks"]
    for kind, name in (
        ("rigs", "virtual"),
        ("calibration/targets", "prism"),
        ("calibration/protocols", "default"),
        ("training", "anim_tiny"),
    ):
        assert name in checks[kind]["detail"]


def test_a_shipped_rig_is_found_inside_the_wheel(installed: Path) -> None:
    code = "from anim_real.rig import load_rig; rig, path, _ = load_rig('virtual'); print(path)"
    answer = subprocess.run(
        [str(installed / "python"), "-c", code], capture_output=True, text=True, cwd="/", check=True
    )
    path = Path(answer.stdout.strip())
    assert path.is_relative_to(installed.parent)
    assert path.parts[-3:] == ("_shipped", "rigs", "virtual.toml")


def test_no_code_in_folders_of_files() -> None:
    for folder in ("rigs", "calibration", "training", "manifests"):
        assert not list((ROOT / folder).rglob("*.py"))
