"""A leaderboard of the trials of a grid and of references: its rows, sections, page and files."""
