"""Builders: from a study to the rows of every table. Imports lake, never queries."""
