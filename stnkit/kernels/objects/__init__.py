"""Machine code that is run without its compiler: how it is linked, kept in archives, and chosen for a processor."""
