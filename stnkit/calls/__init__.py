"""Calls: from what a user passes to one form that backends run, and from their results to what is handed back."""
