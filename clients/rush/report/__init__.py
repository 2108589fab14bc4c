"""Presents a rush: tables on the terminal, the HTML report, the picture, and the comparison of two runs."""
