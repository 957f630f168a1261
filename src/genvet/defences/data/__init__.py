"""Audits of training data, before a generator learns from them: what they tell of people, and what it would copy."""
