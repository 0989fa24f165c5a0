"""Small things that every room needs and that need nothing themselves: names, files, locks, streams, pickles."""
