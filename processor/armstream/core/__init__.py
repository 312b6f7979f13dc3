"""The native core, and the stages beside it: which of the two a process runs on.

Law: the Python stages are the law. The core gives their bytes or hands the event over, in order, over one state; where
it is not built, they do all of it.
"""

from typing import Final

from armstream.core.choice import CoreMissing, is_native, which_runs

__all__: Final = ["CoreMissing", "is_native", "which_runs"]
