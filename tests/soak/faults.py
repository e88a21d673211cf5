"""What goes wrong under the load, one after the other, and is put right again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.runtime.redis_server import Server
from tests.soak.machine import GB, DriverFile, JumpingClock, SoakMachine


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` breaks something and `end` mends it; `end` is called also where the load is stopped in between."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]


def all_faults(
    random: Random, clock: JumpingClock, machine: SoakMachine, driver: DriverFile | None, redis: Server | None
) -> list[Fault]:
    """Those that this machine can have; the first four need nothing."""

    def nothing() -> None:
        """The time that was jumped over is gone."""

    found = [
        Fault("memory full", lambda: machine.fill(0.96), machine.empty),
        Fault("clock jumps an hour", lambda: clock.jump(random.uniform(1, 3600), random.uniform(1, 3600)), nothing),
        Fault("memory nearly full", lambda: machine.fill(0.875), machine.empty),
        Fault("time of day set back", lambda: clock.jump(0, -random.uniform(1, 7200)), nothing),
    ]
    if redis is not None:
        found.append(Fault("Redis killed", redis.kill, redis.start))
    if driver is not None:
        calm = lambda: driver.set(20 * GB)  # noqa: E731
        found.append(Fault("GPU full", lambda: driver.set(79 * GB), calm))
        found.append(Fault("GPU lost", lambda: driver.set(79 * GB, is_lost=True), calm))
        found.append(Fault("driver unloaded", driver.unload, calm))
        found.append(Fault("driver hangs", driver.hang, calm))
    return found
