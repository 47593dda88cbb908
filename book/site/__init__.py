"""The book as a static site.

    build.py       the command `toolkit site OUT`: sources, Sphinx, the check of all links
    sources.py     what the pages are made of: the notebooks, the guides, the lists, as a folder for Sphinx
    notebooks.py   a notebook for the site: anchors, alt texts, widgets
    states.py      the pictures of the widgets' states, and widgets that need no kernel
    reference.py   the toolkit's reference, from its docstrings
    lists.py       glossary, notation, bibliography, errata, each from its one source
    targets.py     what the text can point at by number, and where that is
    extension.py   Sphinx's part: formulas as MathML, anchors of sections; hands each page to finish.py
    finish.py      a page's last touch: references as links, tables and pictures for every reader
    playground/    the samplers once more, in JavaScript, on a page of their own
    links.py       no link, anchor or resource that is not there
"""
