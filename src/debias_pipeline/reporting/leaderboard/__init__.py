"""The leaderboard, a table that ranks methods by accuracy: its rows, its page and its files."""
