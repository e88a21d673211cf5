"""Work that is written once, for threads and for event loops: a generator that yields whatever takes time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

from mlguard_nb import clock
from mlguard_nb.runtime.beside import beside_the_loop

__all__ = ["Call", "Steps", "run", "run_async"]

T = TypeVar("T")


class Call(NamedTuple):
    """A step that calls the user's function, and on an event loop awaits it. The answer is a list that holds what it
    returned, and nothing else holds that.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


# A step is a wait in seconds, a question that blocks, or a Call; the generator is sent what comes of it.
Steps = Generator[float | Callable[[], Any] | Call, Any, T]


def run(steps: Steps[T]) -> T:
    """What `steps` returns, all of it on this thread."""
    resume: Callable[[Any], Any] = steps.send
    answer: Any = None
    while True:
        try:
            step = resume(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        except RuntimeError as error:  # what Python makes of a StopIteration that leaves a generator
            if not isinstance(answer, StopIteration) or error.__cause__ is not answer:
                raise
            step = answer
        finally:
            answer = None  # an error holds this frame
        if isinstance(step, StopIteration):  # the function's own
            raise step
        try:
            if isinstance(step, Call):
                answer = [step.function(*step.args, **step.kwargs)]
            elif callable(step):
                answer = step()
            else:
                clock.current().sleep(step)
            resume = steps.send
        except BaseException as error:
            resume, answer = steps.throw, error


async def run_async(steps: Steps[T], beside: Callable[[Callable[[], Any]], Awaitable[Any]] = beside_the_loop) -> T:
    """The same on an event loop: other tasks run during the waits, and questions are asked `beside` it."""
    resume: Callable[[Any], Any] = steps.send
    answer: Any = None
    while True:
        try:
            step = resume(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            answer = None
        try:
            if isinstance(step, Call):
                answer = [await step.function(*step.args, **step.kwargs)]
            elif callable(step):
                answer = await beside(step)
            else:
                await clock.current().sleep_async(step)
            resume = steps.send
        except BaseException as error:
            resume, answer = steps.throw, error
