"""The report of one explained pair: a figure and a page. It displays maps and computes none."""
