"""Whether what was published follows from the log, derived a second time by whoever asks. Law: read-only, and alone.

The rewards and the learner here are written from the design's formulas, slowly; nothing of `stages` or `learning` is
imported, so that a fault of theirs cannot hide here. What cannot be derived any more is named, never taken as right.
"""
