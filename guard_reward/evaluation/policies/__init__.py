"""Policies that reply to prompts: a transformers checkpoint in this process, or a server."""
