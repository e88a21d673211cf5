"""The phases of planning: each decides one thing about the notebook and leaves its decision on the draft."""
