"""Program text inside model files: recognised or judged, and never run. Runs in the child: standard library only."""
