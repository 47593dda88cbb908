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

Hunts and constants of each student's own are put in by issuing.py and drawn again by the course's key when
they are marked; the key never leaves the left-hand side.  statistics.py reads what course.py has written.

Nothing from the right-hand side is believed: it earns points only by giving right values for inputs that
nobody knew before.
"""
