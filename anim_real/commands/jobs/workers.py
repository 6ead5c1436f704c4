"""Running a pure function over many tasks: in this process, or in several, with the results in order."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Generic, TypeVar

from anim_real.errors import DataError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
_TASKS_AHEAD = 2  # per worker: enough to keep it busy, few enough to bound memory


class Workers(Generic[TaskT, ResultT]):
    """A function and the processes it runs in; one worker means this process.

    Processes are spawned, not forked: ray casting and OpenMP threads of the parent do not survive a fork.

    Args:
        work: a module-level function.
        num_workers: how many processes.
    """

    def __init__(self, work: Callable[[TaskT], ResultT], num_workers: int) -> None:
        self._work = work
        self._num_workers = num_workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers[TaskT, ResultT]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def in_order(self, tasks: Iterable[TaskT]) -> Iterator[ResultT]:
        """Yield the result of every task in the order of the tasks.

        Raises:
            DataError: a worker process died, as it does when memory runs out.
        """
        if self._num_workers == 1:
            yield from map(self._work, tasks)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._num_workers, mp_context=multiprocessing.get_context("spawn"))
        waiting: deque[Future[ResultT]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(self._work, task))
                if len(waiting) > _TASKS_AHEAD * self._num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died",
                where="workers",
                fix="If memory ran out, use fewer --workers; run again to resume",
            ) from error
        finally:
            for future in waiting:
                future.cancel()
