"""Why a published vector moved. Law: read-only; each number is the oracle's, worked out again from what is published.

One bandit is followed back from the vector to the nearest snapshot before it, or to its beginning, and forward again by
its own audit records. Which events were accepted and how they were matched is taken from those records: `verify` is
what derives that. What is deleted is named, and nothing is made up for it.
"""
