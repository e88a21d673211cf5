"""The rows of the budget table, a file for each decorator; every peer that is not installed is left out."""
