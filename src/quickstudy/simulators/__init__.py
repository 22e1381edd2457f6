"""Simulators: environments of Gymnasium that are given tasks, in numbers of NumPy. Nothing here loads PyTorch, so that
processes with simulators are small and begin at once."""
