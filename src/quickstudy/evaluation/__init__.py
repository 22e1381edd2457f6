"""How well a learner does on one source: means with intervals, whether it uses its support sets, how sure it is."""
