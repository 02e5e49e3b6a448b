"""Remembers studies, runs, deliveries and the audit trail."""
