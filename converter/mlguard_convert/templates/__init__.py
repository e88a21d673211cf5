"""The files around the code of an exported package, one function a file, from one `Package` value."""
