"""The modules of a package as text, one file a module: each is written from the plan alone."""
