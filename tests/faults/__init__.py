"""What goes wrong on other people's machines, tried on purpose.

Each module holds one kind of fault and a function `tried`, which yields an `Outcome` for each fault. `make faults` runs
them all and prints a summary; tests/test_faults.py runs a few of each.
"""
