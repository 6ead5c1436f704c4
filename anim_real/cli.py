"""The ``anim-real`` command: a table of subcommands; a command's module is imported only when it runs."""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType

from anim_real import __version__

COMMANDS: dict[str, str] = {
    "simulate": "write takes of the virtual studio in the raw formats of a real rig",
    "record": "record a take from live cameras (Azure Kinect, Femto Bolt, virtual), several at once",
    "calibrate": "solve sensors against the scanner, and their clocks, from a calibration take",
    "calibrate-intrinsics": "solve a camera's focal length, centre and lens from images of a board alone",
    "sync": "solve a take's clocks alone, with residuals and every dropped frame",
    "ingest": "read takes, match frames in time, check every pair, write a manifest",
    "build-shards": "make scans watertight, align, sample and pack HDF5 shards",
    "render": "render clean RGB-D of meshes around the clock and pack it into shards",
    "train": "train a model from scratch on shards",
    "finetune": "fine-tune trained weights on shards of real pairs",
    "reconstruct": "make a mesh from one RGB-D frame",
    "evaluate": "score reconstructions against the scans (CD, P2S, Normal, IoU)",
    "inspect": "show what any file of the project holds",
    "export": "write a recording as images and points, a calibration for other tools, or a target to print",
    "import-cameras": "read cameras of OpenCV, COLMAP, Open3D, Kalibr, multical or EasyMocap",
    "watertight": "make one scan watertight and say what was changed",
    "validate": "check a data set's bytes, schema and geometry",
    "demo": "run the whole job on the virtual studio and on real files, with a report",
    "devices": "list the depth cameras that are connected",
    "doctor": "check this machine: packages, libraries, GPU, shipped files",
}
_USAGE_EXIT = 2
_UNEXPECTED_EXIT = 1
_PARTIAL_EXIT = 3


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the process's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0 if arguments else _USAGE_EXIT
    if arguments[0] == "--version":
        sys.stdout.write(f"anim-real {__version__}\n")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        sys.stderr.write(f"anim-real: no command {name!r}{hint} See anim-real --help\n")
        return _USAGE_EXIT
    return _run(name, arguments[1:])


def usage() -> str:
    """Return the text of ``anim-real --help``."""
    width = max(len(name) for name in COMMANDS)
    rows = "\n".join(f"  {name:<{width}} {purpose}" for name, purpose in COMMANDS.items())
    return (
        "usage: anim-real COMMAND [options]\n\n"
        "Aligned pairs of noisy RGB-D and clean scans, and ANIM fine-tuned on them.\n\n"
        f"{rows}\n\n"
        "anim-real COMMAND --help tells the rest. Every command takes --json and --quiet.\n"
        "Exit codes: 0 done, 1 unexpected, 2 usage, 3 partial, 4 bad data or refused, 5 missing dependency,\n"
        "10 not found, 11 locked, 12 schema version, 13 no space, 14 consent, 130/143 stopped.\n"
    )


def _run(name: str, arguments: list[str]) -> int:
    from anim_real.console import Console, print_result
    from anim_real.errors import AnimRealError, MissingDependencyError, from_os_error

    as_json, quiet = "--json" in arguments, "--quiet" in arguments
    is_debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument not in ("--json", "--quiet", "--debug")]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        command = importlib.import_module(f"anim_real.commands.{name.replace('-', '_')}")
        import tyro

        parsed = tyro.cli(
            command.Arguments,
            prog=f"anim-real {name}",
            description=command.__doc__,
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes,),
        )
        result = command.run(parsed, Console(quiet=quiet))
        print_result(result, as_json=as_json)
        return _PARTIAL_EXIT if result.failures else 0
    except AnimRealError as error:
        return _fail(error, error.exit_code, is_debug)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "anim_real":
            raise
        missing = MissingDependencyError(
            f"the Python package {error.name!r} is not installed",
            fix=f"Run: pip install 'anim-real[{_extra(error.name)}]'",
        )
        return _fail(missing, missing.exit_code, is_debug)
    except KeyboardInterrupt:
        sys.stderr.write("anim-real: stopped\n")
        return 130
    except _Terminated:
        sys.stderr.write("anim-real: terminated\n")
        return 143
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _USAGE_EXIT
    except BrokenPipeError:
        return 141
    except OSError as error:
        known = from_os_error(error)
        return _fail(known or error, known.exit_code if known else _UNEXPECTED_EXIT, is_debug)
    except MemoryError as error:
        short = MissingDependencyError(
            f"not enough memory ({error})" if str(error) else "not enough memory", fix="Ask for smaller sizes or counts"
        )
        return _fail(short, short.exit_code, is_debug)
    except Exception as error:
        return _fail(error, _UNEXPECTED_EXIT, is_debug)


def _fail(error: Exception, exit_code: int, is_debug: bool) -> int:
    if is_debug:
        import traceback

        traceback.print_exception(error)
    if exit_code == _UNEXPECTED_EXIT:
        sys.stderr.write(
            f"anim-real: unexpected {type(error).__name__}: {error} (--debug shows where; please report it)\n"
        )
    else:
        sys.stderr.write(f"anim-real: {error}\n")
    return exit_code


def _extra(package: str) -> str:
    """The extra of pyproject.toml that brings ``package``."""
    extras = {"anny": "sim", "torch": "train", "safetensors": "train", "tensorboard": "train", "spconv": "cuda"}
    return extras.get(package.partition(".")[0], "train")


class _Terminated(BaseException):
    """SIGTERM arrived."""


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


if __name__ == "__main__":
    sys.exit(main())
