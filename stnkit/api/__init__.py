"""The functions a user calls: their signatures, their documentation, and what they accept."""
