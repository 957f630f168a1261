"""Report in, one self-contained HTML page out; also SARIF."""
