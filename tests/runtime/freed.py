"""A machine that gets memory back as time goes on."""

from __future__ import annotations

from mlguard_nb.testing import FakeClock, FakeDevices


class Freed(FakeClock):
    """A clock at whose `at` seconds a machine gets memory back."""

    def __init__(self, machine: FakeDevices, at: float, to: int) -> None:
        super().__init__()
        self.machine, self.at, self.to = machine, at, to

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.time >= self.at:
            self.machine.ram_used = self.to
