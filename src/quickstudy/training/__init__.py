"""From a config to a trained φ: what it names, the loop, the outer step, and the log of both."""
