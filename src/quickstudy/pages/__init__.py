"""Pages in one HTML file: structure, charts and pictures. They know no run."""
