"""A service: models that are made of examples, grow, forget, and are asked over HTTP."""
