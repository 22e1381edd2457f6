"""The LSTM cell in elementary operations, which can be differentiated any number of times and under `vmap`."""

from __future__ import annotations

from torch import Tensor


def lstm_cell(i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """New h and c (…, width) of long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o: what enters input gate, forget gate, candidate and output gate before their nonlinearities, (…, width)
    each, in PyTorch's order. Who has them side by side in one matrix may have them there in another. c: the old cell.
    """
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c
