"""Every speed ratio that the project aims for, ours and the others side by side: ``python -m benchmarks.ratios``.

A family of rows is a file here; `readings.py` has the words, `peers/` builds the other systems with random weights, and
docs/SPEED.md says what each row measures.
"""
