"""`jupyter nbconvert --to mlguard notebook.ipynb`: the package, as nbconvert's output."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from traitlets import Bool, Enum, Float, Unicode

from mlguard_convert.settings import ExportOptions, named_outputs
from mlguard_nb.errors import ConversionError, Diagnostic, MissingExtra, Remedy

try:
    from nbconvert.exporters import Exporter
except ImportError as error:
    raise MissingExtra("jupyter nbconvert --to mlguard", "lab") from error

__all__ = ["AS_TRAITS", "MlguardExporter"]

AS_TRAITS: dict[Remedy, str] = {
    "skip_bad_cells": "set --MlguardExporter.skip_bad_cells=True",
    "order": "set --MlguardExporter.order=executed",
    "allow_shell": "set --MlguardExporter.allow_shell=True",
    "pack_data": "set --MlguardExporter.pack_data=True to take data of any size along",
    "output": "choose another --MlguardExporter.output",
    "force": "write into it with --MlguardExporter.force=True",
}


class MlguardExporter(Exporter):
    """Writes the package's folder beside the notebook, and gives nbconvert its README.

    The options of `mlguard-nb export` are its traits: `--MlguardExporter.verify=True`.
    """

    export_from_notebook = "mlguard package"
    output_mimetype = "text/markdown"

    output = Unicode("", help="The package's folder (default: beside the notebook).").tag(config=True)
    name = Unicode(None, allow_none=True, help="The package's name.").tag(config=True)
    outputs = Unicode("assigned", help="Results: assigned, all, or names with commas.").tag(config=True)
    order = Enum(["file", "executed"], "file", help="The order of the cells.").tag(config=True)
    keep_displays = Bool(False, help="Log what cells showed as their last expression.").tag(config=True)
    allow_shell = Bool(False, help="Let shell lines run in the package.").tag(config=True)
    skip_bad_cells = Bool(False, help="Leave out cells that Python cannot read.").tag(config=True)
    verify = Bool(False, help="Run notebook and package and compare every final value.").tag(config=True)
    python = Unicode(None, allow_none=True, help="The interpreter in which verify runs the package.").tag(config=True)
    timeout = Float(None, allow_none=True, help="Longest time of one cell under verify, in seconds.").tag(config=True)
    force = Bool(False, help="Overwrite files that were changed by hand.").tag(config=True)
    pack_data = Bool(False, help="Let data of any size travel in tests/data.").tag(config=True)
    k8s = Bool(False, help="Add a Kubernetes job.").tag(config=True)

    def _file_extension_default(self) -> str:
        return ".export.md"

    def from_filename(self, filename: str, resources: dict[str, Any] | None = None, **keywords: Any) -> Any:
        """Export the notebook `filename`; ConversionError as for the command line, and where verify finds a difference.

        The package is written in either case, as it is there.
        """
        from mlguard_convert.exporting import export

        place = Path(filename).resolve()
        try:
            result = export(place, self.output or None, options=self._options(), output_root=place.parent)
        except ConversionError as error:
            raise error.spelt(AS_TRAITS) from None
        seen = result.verification
        if seen is not None and not seen.ok:
            raise ConversionError(filename, [Diagnostic("verify", "error", None, None, seen.sentence())])
        assert result.folder is not None
        text = (result.folder / "README.md").read_text(encoding="utf-8")
        return text, {**(resources or {}), "output_extension": ".export.md"}

    def _options(self) -> ExportOptions:
        chosen = {one.name: getattr(self, one.name) for one in fields(ExportOptions) if self.has_trait(one.name)}
        return ExportOptions(**{**chosen, "outputs": named_outputs(self.outputs)})

    def from_file(self, file_stream: Any, resources: dict[str, Any] | None = None, **keywords: Any) -> Any:
        """A stream has no place for a package beside it: only files are taken."""
        name = getattr(file_stream, "name", None)
        if isinstance(name, str) and Path(name).is_file():
            return self.from_filename(name, resources, **keywords)
        raise ConversionError("standard input", [Diagnostic("target", "error", None, None, "give a file's name")])
