"""The rewrites: each libcst pass does one planned thing and leaves every other byte as it was."""
