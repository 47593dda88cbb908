"""Grading: `toolkit release` and `toolkit grade`.

What runs where::

    grader (run.py, marking.py)              a student's kernel (zygote.py, inside.py), in a sandbox
    ---------------------------              ----------------------------------------------------------
    collect.py: find what was handed in
    assemble.py: the package's checks,       the student's cells; in toolkit.lessons only the probes
      the student's other cells    ------>     (apart.py, stage.py)
    seeds, fresh for each run      ------>   check(...) observes the answer on them (diagnose.observe)
    marking.py: compare with what  <------   what was seen, as JSON (wire.py)
      the solution gave in a kernel of its own, name the mistake
    reports.py, feedback.py: marks, reasons, pages

Nothing from the right-hand side is believed: it earns points only by giving right values for inputs that
nobody knew before.
"""
