"""What several kinds of tests share: an API client, a recording subscriber, a trace collector."""
