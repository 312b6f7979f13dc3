"""The formula oracle: what rewards, weights and state must come to, by the published formulas alone.

Law: this room imports the standard library and the events, and nothing of what it proves: no stage, no learner, no
reading of settings. Which rule has which oracle, armstream.rules says.
"""
