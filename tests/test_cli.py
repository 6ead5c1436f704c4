"""The command line: light start, exit codes, errors without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from anim_real import cli
from anim_real.errors import AnimRealError, ConsentError, DataError, NoSpaceError, SchemaVersionError

HEAVY = ("torch", "h5py", "cv2", "open3d", "numpy", "pandas", "scipy", "igl", "trimesh", "pydantic", "tyro")


def _run(*arguments: str, cwd: object = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "anim_real.cli", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom anim_real import cli\n"
        "code = cli.main(['--help'])\n"
        f"heavy = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "assert code == 0 and not heavy, heavy\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    for name in cli.COMMANDS:
        assert name in answer.stdout


def test_help_is_quick() -> None:
    _run("--help")
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert _run("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5  # the promise of the design; an idle machine needs 0.04 s


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help(command: str) -> None:
    answer = _run(command, "--help")
    assert answer.returncode == 0, answer.stderr
    assert "--help" in answer.stdout
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "usage"),
        (("calibrat",), 2, "did you mean 'calibrate'"),
        (("ingest", "--no-such-flag"), 2, ""),
        (("inspect", "/no/such/file.mkv"), 10, "/no/such/file.mkv"),
        (("calibrate", "/no/such/take", "--rig", "virtual", "-o", "/tmp/never.json"), 10, "/no/such/take"),
        (("calibrate", ".", "--rig", "no_such_rig", "-o", "/tmp/never.json"), 10, "Known: "),
    ],
)
def test_wrong_input_ends_in_its_exit_code(arguments: tuple[str, ...], code: int, words: str) -> None:
    answer = _run(*arguments)
    assert answer.returncode == code, answer.stderr
    assert words in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_version() -> None:
    from anim_real import __version__

    assert _run("--version").stdout.strip() == f"anim-real {__version__}"


def test_doctor_reports_json() -> None:
    answer = _run("doctor", "--json")
    assert answer.returncode == 0, answer.stderr
    checks = json.loads(answer.stdout)["checks"]
    assert checks["open3d"]["ok"]
    assert "virtual" in checks["rigs"]["detail"]


def test_exit_codes_are_those_of_the_design() -> None:
    codes = {kind.__name__: kind.exit_code for kind in AnimRealError.__subclasses__()}
    assert codes == {
        "ConfigError": 2,
        "DataError": 4,
        "MissingDependencyError": 5,
        "NotFoundError": 10,
        "LockedError": 11,
        "SchemaVersionError": 12,
        "NoSpaceError": 13,
        "ConsentError": 14,
    }


@pytest.mark.parametrize("kind", [DataError, SchemaVersionError, NoSpaceError, ConsentError])
def test_errors_survive_a_worker_process(kind: type[AnimRealError]) -> None:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as pool, pytest.raises(kind) as caught:
        pool.submit(_raise, kind).result()
    assert caught.value.where == "file:key"
    assert str(caught.value) == "file:key: is wrong. Do this"


def _raise(kind: type[AnimRealError]) -> None:
    raise kind("is wrong", where="file:key", fix="Do this")
