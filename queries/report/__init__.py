"""The report: a static site made from the answers of shipped queries, one page an example, one a gallery, one a query.

Each section is one small function over one shipped query and shows a plain line when the lake has no answer. Pages work
from file:// and from any static host, load nothing from elsewhere, and every figure names the fit, study and lake revision
it came from.
"""
