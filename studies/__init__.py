"""Studies behind docs/studies.md: `python -m studies NAME …` measures and stores, `python -m studies.page` writes."""
