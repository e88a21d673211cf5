"""What Jupyter loads: puts the routes below <base_url>mlguard/ and ends the feed with the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["_load_jupyter_server_extension"]


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Add the handlers to `server_app`; nothing is sampled before a page connects."""
    from jupyter_server.utils import url_path_join

    from mlguard_nb.server.configuration import MlguardExport
    from mlguard_nb.server.feed import Feed
    from mlguard_nb.server.kernels import running_kernels
    from mlguard_nb.server.neighbours import Neighbours
    from mlguard_nb.server.routes import DirectiveHandler, ExportHandler, SampleHandler
    from mlguard_nb.server.stream import StreamHandler

    application = server_app.web_app
    feed = Feed(
        lambda: running_kernels(server_app.kernel_manager, server_app.session_manager),
        neighbours=Neighbours(Path(server_app.runtime_dir)),
    )
    application.settings["mlguard_feed"] = feed
    base = application.settings["base_url"]
    exports = {"root": server_app.root_dir, "bounds": MlguardExport(parent=server_app).bounds}
    application.add_handlers(
        ".*$",
        [
            (url_path_join(base, "mlguard", "sample"), SampleHandler, {"feed": feed}),
            (url_path_join(base, "mlguard", "stream"), StreamHandler, {"feed": feed}),
            (url_path_join(base, "mlguard", "directive"), DirectiveHandler),
            (url_path_join(base, "mlguard", "export"), ExportHandler, exports),
        ],
    )
    server_app.log.info("mlguard-nb is ready: live readings below %s", url_path_join(base, "mlguard"))
