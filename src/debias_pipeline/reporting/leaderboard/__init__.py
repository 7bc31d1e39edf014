"""The leaderboard, which ranks the trials of a grid and of references: its page and files."""
