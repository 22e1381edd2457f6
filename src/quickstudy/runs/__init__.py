"""Runs: folders that are trained, evaluated and adapted; published figures measured again."""
