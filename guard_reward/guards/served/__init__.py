"""Asking a guard that runs behind a server: connections, deadlines, retries, replicas, and what servers answer."""
