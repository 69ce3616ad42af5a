"""What runs by itself: schedules, runs on new data, chains; when, and exactly once."""
