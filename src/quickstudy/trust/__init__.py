"""How far a model that has learned one task can be believed: fitted over tasks whose truth is known."""
