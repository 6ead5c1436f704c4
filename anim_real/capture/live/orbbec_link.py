"""The other end of ``orbbec_process``: starting that process, its messages, and what its silence or death means."""

from __future__ import annotations

import json
import os
import queue
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from anim_real.capture.live.sdk_install import ORBBEC_PYTHON, missing_orbbec, orbbec_python
from anim_real.errors import ConfigError, MissingDependencyError

_SCRIPT = Path(__file__).with_name("orbbec_process.py")
_PROTOCOL = 1
_PREFIX = struct.Struct("<4sII")
_MAGIC = b"ARO1"
_MAX_HEADER, _MAX_PAYLOAD = 1 << 20, 1 << 28  # bytes; a 3072P BGRA capture has 54 MB
_SILENCE_S = 6.0  # the process says that it lives every half second
_START_S = 30.0  # importing the SDK, finding devices on USB
_CLOSE_S = 6.0
_QUEUE_LENGTH = 8
_REPLUG = "Check its USB cable and its power supply, plug it into a USB 3 port of its own, and record again"
_FIXES = {
    "absent": "Plug it in, or correct the serial in the rig",
    "ambiguous": "Set the sensor's serial in the rig",
    "busy": "Close the program that uses it; on Linux install the udev rules of pyorbbecsdk",
}


class Message(NamedTuple):
    """One message: its type, the other keys of its header, its payload."""

    kind: str
    header: dict[str, Any]
    payload: bytearray


class Broken(Exception):
    """The pipe ended or carried something else than messages."""


def read_message(read_into: Callable[[memoryview], int | None]) -> Message | None:
    """Read one message; None at a clean end of the pipe.

    Args:
        read_into: fills a buffer as far as data are there and returns how many bytes it got; 0 at the end.

    Raises:
        Broken: what comes is no message, or ends within one.
    """
    prefix = bytearray(_PREFIX.size)
    num_read = _fill(read_into, prefix)
    if num_read == 0:
        return None
    magic, header_bytes, payload_bytes = _PREFIX.unpack(prefix) if num_read == len(prefix) else (b"", 0, 0)
    if magic != _MAGIC or header_bytes > _MAX_HEADER or payload_bytes > _MAX_PAYLOAD:
        raise Broken(f"sent {bytes(prefix[:num_read])!r} instead of a message")
    raw, payload = bytearray(header_bytes), bytearray(payload_bytes)
    if _fill(read_into, raw) + _fill(read_into, payload) != header_bytes + payload_bytes:
        raise Broken("ended within a message")
    try:
        header = json.loads(raw)
        return Message(str(header.pop("type")), dict(header), payload)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Broken(f"sent a message whose header is {bytes(raw[:60])!r}") from error


def _fill(read_into: Callable[[memoryview], int | None], buffer: bytearray) -> int:
    """Fill ``buffer`` as far as the pipe goes; return how many bytes came."""
    done = 0
    view = memoryview(buffer)
    while done < len(buffer):
        got = read_into(view[done:])
        if not got:
            break
        done += got
    return done


class OrbbecProcess:
    """The running process; every answer is waited for with a time limit.

    Args:
        where: names the sensor in errors.
        python: interpreter that has pyorbbecsdk; by default the one that ``ANIM_REAL_ORBBEC_PYTHON`` names.
        silence_s: how long it may say nothing before it counts as hanging.

    Raises:
        MissingDependencyError: no interpreter named, it cannot run, or it has no (or another) pyorbbecsdk.
    """

    def __init__(self, where: str, *, python: Path | None = None, silence_s: float = _SILENCE_S) -> None:
        interpreter = _interpreter(python)
        self._where, self._silence_s = where, silence_s
        # a folder of its own: the SDK writes its log where it runs, and nothing beside the script can be imported
        self._folder = Path(tempfile.mkdtemp(prefix="anim-real-orbbec-"))
        self._messages: queue.Queue[Message | Broken | None] = queue.Queue(_QUEUE_LENGTH)
        self._last_heard_s = time.monotonic()
        self._is_closed = self._is_ready = False
        self._interpreter = interpreter
        try:
            with (self._folder / "stderr.txt").open("wb") as stderr:
                self._process = subprocess.Popen(
                    [interpreter, "-u", shutil.copy(_SCRIPT, self._folder)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd=self._folder, bufsize=0,
                    start_new_session=os.name != "nt",  # Ctrl-C is ours to handle
                )  # fmt: skip
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise missing_orbbec(f"{interpreter} cannot be run ({error.strerror})") from error
        threading.Thread(target=self._read, daemon=True).start()
        try:
            hello = self.wait_for("hello", _START_S).header
            if hello.get("protocol") != _PROTOCOL:
                raise self._error(f"{interpreter} runs another version of orbbec_process.py", "Install anim-real again")
            if int(str(hello["sdk"]).partition(".")[0]) < 2:
                raise missing_orbbec(f"{interpreter} has pyorbbecsdk {hello['sdk']}; 2.x is needed")
        except BaseException:
            self.close()
            raise
        self._is_ready = True
        self.library = f"pyorbbecsdk2 {hello['package']}, Orbbec SDK {hello['sdk']}"

    def send(self, command: str, **arguments: Any) -> None:
        """Send a command.

        Raises:
            MissingDependencyError: the process is gone.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        except OSError as error:
            raise self._died() from error

    def wait_for(self, kind: str, timeout_s: float) -> Message:
        """The next message, which must be of this kind.

        Raises:
            TimeoutError: none came in time, though the process lives.
            MissingDependencyError: it reported an error, hangs, died, or sent something else.
            ConfigError: it refused a mode.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, min(until_s - time.monotonic(), 0.25)))
            except queue.Empty:
                if time.monotonic() - self._last_heard_s > self._silence_s:
                    self._process.kill()
                    raise self._error(
                        f"hangs: the process that reads it said nothing for {self._silence_s:g} s", _REPLUG
                    ) from None
                if time.monotonic() >= until_s:
                    raise TimeoutError(f"no {kind} within {timeout_s:g} s") from None
                continue
            if message is None:
                raise self._died()
            if isinstance(message, Broken):
                self._process.kill()
                raise self._error(
                    f"the process that reads it {message}", "Something prints into its pipe: install pyorbbecsdk2 anew"
                )
            if message.kind == "error":
                raise self._reported(message.header)
            if message.kind == kind:
                return message
            self._process.kill()
            raise self._error(f"the process that reads it answered {message.kind!r} instead of {kind!r}", _REPLUG)

    def close(self) -> None:
        """Stop the device and end the process, by force if it does not; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()  # it stops the device and ends
            until_s = time.monotonic() + _CLOSE_S
            while self._process.poll() is None and time.monotonic() < until_s:
                self._drain()
                time.sleep(0.01)
        except OSError:
            pass  # it ended just now
        finally:
            self._process.kill()
            self._process.wait()
            self._drain()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> None:
        """Read messages until the pipe ends; runs on a thread of its own."""
        stdout: Any = self._process.stdout  # a FileIO, for it is unbuffered
        with stdout:
            while True:
                try:
                    message = read_message(stdout.readinto)
                except (Broken, OSError) as error:
                    self._messages.put(error if isinstance(error, Broken) else None)
                    return
                self._last_heard_s = time.monotonic()
                if message is None or message.kind != "alive":
                    self._messages.put(message)
                if message is None:
                    return
                self._last_heard_s = time.monotonic()

    def _drain(self) -> None:
        """Throw waiting messages away, so that neither side waits for the other to end."""
        while True:
            try:
                self._messages.get_nowait()
            except queue.Empty:
                return

    def _reported(self, header: dict[str, Any]) -> MissingDependencyError | ConfigError:
        kind, text = str(header.get("kind")), str(header.get("text"))
        if kind == "missing":
            return missing_orbbec(text)
        if kind == "mode":
            return ConfigError(text, where=self._where, fix="Choose modes of the device in the rig")
        return self._error(text, _FIXES.get(kind, _REPLUG))

    def _died(self) -> MissingDependencyError:
        try:
            status = self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        lines = (self._folder / "stderr.txt").read_text("utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        if not self._is_ready:
            return missing_orbbec(f"{self._interpreter} {how} before it could import pyorbbecsdk ({last})")
        return self._error(f"the process that reads it {how} ({last})", _REPLUG)

    def _error(self, what: str, fix: str) -> MissingDependencyError:
        return MissingDependencyError(what, where=self._where, fix=fix)


def _interpreter(python: Path | None) -> str:
    found = orbbec_python(python)
    if found is not None:
        return found
    named = os.environ.get(ORBBEC_PYTHON) if python is None else python
    if not named:
        raise missing_orbbec(f"no interpreter with pyorbbecsdk is named: {ORBBEC_PYTHON} is not set")
    raise missing_orbbec(f"there is no interpreter {named}")
