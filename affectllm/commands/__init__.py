"""The command line: every verb, each a few lines over the library."""
