"""Appendix A: the points of the five source texts, and where this book answers each.

`rows.toml` lists them in our words, text by text and section by section; `rows` reads it, `places` finds
where a chapter answers, `entries` puts both into sentences, `page` makes the notebook, and `finder` and
`pictures` what its code cells show.
"""
