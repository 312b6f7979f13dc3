"""The bench: events a second, latency, restore and growth on a real broker, beside others that do the same job.

Law: all get the same records and machine, in turns; their final vectors and rewards are those of a second opinion, or
there is no table.
"""
