"""Grading: `toolkit release` and `toolkit grade`.

What runs where::

    grader (run.py, marking.py)              a student's kernel (zygote.py, kernel_check.py), in a sandbox
    ---------------------------              ----------------------------------------------------------
    collect.py: find what was handed in
    assemble.py: the package's checks,       the student's cells; in book.lessons only the probes
      the student's other cells    ------>     (probe_source.py, staging.py)
    seeds, fresh for each run      ------>   check(...) observes the answer on them (diagnose.observe)
    marking.py: compare with what  <------   what was seen, as JSON (messages.py)
      the solution gave in a kernel of its own, name the mistake
    reports.py, feedback.py: marks, reasons, pages

Nothing from the right-hand side is believed: it earns points only by giving right values for inputs that
nobody knew before.
"""
