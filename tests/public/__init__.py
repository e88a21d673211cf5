"""Public notebooks that nobody here wrote, converted by us and by our peers: `python -m tests.public`."""
