"""Whether what was published follows from the log. Law: read-only, and by two witnesses.

The shadow applies the log through the processor's own stages, and so finds what went wrong on the way. The oracle works
out the numbers by the published formulas, and imports neither stages nor learning: so it finds what the stages have
wrong. What cannot be derived any more is named, never taken as right.
"""
