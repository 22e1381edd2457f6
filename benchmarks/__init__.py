"""Speed and memory, measured beside other libraries on the same machine: `python -m benchmarks`."""
