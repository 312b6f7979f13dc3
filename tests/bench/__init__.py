"""The bench: events a second and latency on a real broker, beside the loop one would write first.

Law: both loops get the same records, settings and machine, in turns; their rewards agree, or there is no table.
"""
