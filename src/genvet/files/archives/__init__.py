"""Zip, tar, 7z and compressed streams: every entry checked, none trusted. Runs in the child: standard library only."""
