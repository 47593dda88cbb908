"""The contest of chapter 8: `toolkit contest run`, `table` and `baselines`.

An entry is one Python file with `train(images, labels, seconds, seed)` and
`sample(network, noise, labels, calls, notes)`.  What runs where::

    organiser (judge.py, oracle.py, scoring.py)        a box (book.grading.sandbox), inside.py
    -------------------------------------------        ------------------------------------------------
    training digits, seconds, a seed        ------>    train(...)
    oracle.py: architecture and numbers,    <------    a network of ours, and notes; the box is ended
      counted, put into a network of ours
    noise and labels of a hidden seed       ------>    a fresh box for each number of calls: sample(...)
    the network is evaluated here, and      <----->      network(x, c, label) is a question, each row of
      rows are counted here                               which counts as one call for one sample
    scoring.py: Fréchet distance, labels    <------    images
      obeyed, copies; board.py keeps them

Nothing that the right-hand side says is believed: it gives numbers for a network, questions and pictures, and
all that counts is counted on the left.
"""
