"""The live kernel: %%guard cells, their runs, the watchdog that keeps the kernel alive, and the view below a cell."""
