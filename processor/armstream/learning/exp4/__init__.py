"""EXP4 as a processor runs it: trust in experts (trust.py), experts of its own (experts.py), the rule (bandit.py)."""
