"""A comparison for people and for other programs: one file per format, all from the one layout in `table`."""
