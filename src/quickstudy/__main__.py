"""`python -m quickstudy` is the command `quickstudy`."""

import os
import sys

from quickstudy.cli import main

status = main()
if int(os.environ.get("WORLD_SIZE", "1")) > 1:
    # Of several processes, each ends at once: in PyTorch's own end, threads of gloo can abort a process that is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
sys.exit(status)
