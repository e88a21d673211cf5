"""The Jupyter server's side: live readings over one authenticated stream, who holds the memory, and the export."""
