"""Why a processor stops: each failure's text is the one line an operator reads, and names the way out."""


class Stopped(Exception):
    """The processor cannot go on; its text says why and what to do. Nothing uncommitted was published."""


class Leaving(Exception):
    """The processor was told to stop before it had begun: there is nothing to finish."""
