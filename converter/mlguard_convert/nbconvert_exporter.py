"""`jupyter nbconvert --to mlguard notebook.ipynb`: the package, as nbconvert's output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlguard_nb.errors import ConversionError, Diagnostic, MissingExtra

try:
    from nbconvert.exporters import Exporter
except ImportError as error:
    raise MissingExtra("jupyter nbconvert --to mlguard", "lab") from error

__all__ = ["MlguardExporter"]


class MlguardExporter(Exporter):
    """Writes the package's folder beside the notebook (or below --output-dir), and gives nbconvert its README."""

    export_from_notebook = "mlguard package"
    output_mimetype = "text/markdown"

    def _file_extension_default(self) -> str:
        return ".export.md"

    def from_filename(self, filename: str, resources: dict[str, Any] | None = None, **keywords: Any) -> Any:
        """Export the notebook `filename`; ConversionError as for the command line."""
        from mlguard_convert.exporting import export
        from mlguard_convert.settings import ExportOptions

        result = export(Path(filename), options=ExportOptions(), output_root=Path(filename).resolve().parent)
        assert result.folder is not None
        text = (result.folder / "README.md").read_text(encoding="utf-8")
        return text, {**(resources or {}), "output_extension": ".export.md"}

    def from_file(self, file_stream: Any, resources: dict[str, Any] | None = None, **keywords: Any) -> Any:
        """A stream has no place for a package beside it: only files are taken."""
        name = getattr(file_stream, "name", None)
        if isinstance(name, str) and Path(name).is_file():
            return self.from_filename(name, resources, **keywords)
        raise ConversionError("standard input", [Diagnostic("target", "error", None, None, "give a file's name")])
