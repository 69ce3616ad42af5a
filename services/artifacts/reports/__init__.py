"""Reports on request: an ended run's notebook rendered again, as HTML or PDF, without running anything."""
