"""The adapted model: what leaves a run, predicts, is saved and shipped."""
