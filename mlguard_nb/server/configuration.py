"""What an administrator may set in jupyter_server_config: the bounds of an export."""

from __future__ import annotations

from traitlets import Float
from traitlets.config import Configurable

from mlguard_nb.server.converter import Bounds

__all__ = ["MlguardExport"]


class MlguardExport(Configurable):
    """`c.MlguardExport.export_seconds = 7200` and the like; every default is that of `Bounds`."""

    plan_seconds = Float(Bounds().plan_seconds, min=1, help="Longest time to read a notebook and plan its export.").tag(
        config=True
    )
    export_seconds = Float(
        Bounds().export_seconds, min=1, help="Longest time of an export, with the runs that it compares."
    ).tag(config=True)
    memory_fraction = Float(
        Bounds().memory_fraction, min=0, max=1, help="Share of the memory free at its start that an export may hold."
    ).tag(config=True)

    @property
    def bounds(self) -> Bounds:
        """The settings as one value."""
        return Bounds(self.plan_seconds, self.export_seconds, self.memory_fraction)
