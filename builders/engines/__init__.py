"""Engines: ways to spread units over processes and machines. The lake is the only state; an engine keeps none."""
