"""What every kind of suite shares: from a suite to its runs, from a run to its files."""
