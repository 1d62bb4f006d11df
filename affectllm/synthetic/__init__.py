"""Drawn people with synthetic voices: clips whose face, voice and words are known, for running the whole way anywhere.

What a model learns here is this generator, not people.
"""
